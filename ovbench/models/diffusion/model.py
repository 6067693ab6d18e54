"""Stable Diffusion 1.x through diffusers: pictures of prompts, and features of pictures.

Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models" (CVPR 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.diffusion.attention import DAAM, AttentionTotals, AttributionRule
from ovbench.models.diffusion.features import on_grid, read_modules
from ovbench.models.diffusion.folder import Parts, load_parts
from ovbench.models.diffusion.looking import Looking
from ovbench.models.diffusion.prompts import Continued, continued, name_positions
from ovbench.models.diffusion.sampling import Sampling, build_solver
from ovbench.models.precision import DTYPES, frozen
from ovbench.models.weights.checkpoints import locate

ROLE = "stable_diffusion"

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the number of steps done and of all steps."""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One picture to make.

    Attributes:
        prompt: what it shall show.
        seed: of the noise it starts from.
        negative: what it shall not show.
        name: the words in the prompt whose attribution is wanted, or None.
        draw: how many pictures' noise is drawn from the seed, and left, before its own.
    """

    prompt: str
    seed: int
    negative: str = ""
    name: str | None = None
    draw: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Generated:
    """Pictures and where a name of each prompt acts in them.

    Attributes:
        images: ``(B, H, W, 3)`` uint8 RGB.
        attribution: ``(B, h, w)`` float32 on the grid of the latents, not negative, on the
            model's device; None where no names were asked for.
    """

    images: npt.NDArray[np.uint8]
    attribution: Tensor | None


@dataclass(frozen=True, slots=True, eq=False)
class Noisy:
    """A picture with some noise on it, as the U-Net is given it.

    Attributes:
        latents: ``(1, 4, h, w)`` in the U-Net's precision, on the model's device.
        timestep: of the noise schedule, from 0.
    """

    latents: Tensor
    timestep: int


class Diffusion:
    """A frozen Stable Diffusion.

    U-Net and image encoder compute in the runtime's precision. Text encoder, image decoder and
    the arithmetic of the solvers stay in float32: they cost little, and a seed then means nearly
    the same picture in every precision.

    Attributes:
        checkpoints: which weights these are.
        mean, std: per channel, of pixels scaled to 0..1, as the image encoder was trained.
        cell: pixels per latent, along both axes.
        image_size: the side in pixels of the square images it was trained on.
        text_sizes: of the U-Net's layers that attend to texts, how many sizes there are.
    """

    mean = (0.5, 0.5, 0.5)
    std = (0.5, 0.5, 0.5)

    def __init__(
        self, parts: Parts, checkpoints: tuple[CheckpointRecord, ...], runtime: Runtime
    ) -> None:
        """Wrap built parts, which are frozen and moved in place."""
        for model in (parts.vae, parts.text_encoder, parts.unet):
            frozen(model, runtime.device)
        self._parts = parts
        self._dtype = DTYPES[runtime.precision]
        parts.text_encoder.float()
        # Not the U-Net's own to(), which warns of parts to be kept in float32: it has none.
        nn.Module.to(parts.unet, self._dtype)
        parts.vae.float()
        parts.vae.encoder.to(self._dtype)
        parts.vae.quant_conv.to(self._dtype)
        self._text_length: int = parts.text_encoder.config.max_position_embeddings
        self._add_noise = build_solver("ddim", parts.scheduler).add_noise
        self.checkpoints = checkpoints
        self.device = torch.device(runtime.device)
        self.cell: int = 2 ** (len(parts.vae.config.block_out_channels) - 1)
        self.image_size: int = parts.unet.config.sample_size * self.cell
        levels = parts.unet.config.down_block_types
        # The innermost block, which attends to texts too, has the last level's size.
        self.text_sizes: int = 1 + sum("CrossAttn" in level for level in levels[:-1])

    @property
    def output_blocks(self) -> list[str]:
        """The U-Net's modules on the way up, in the original code's order (``output_blocks``).

        Of a block that has attention, it is what leaves the attention. The original makes the
        enlargement a part of the last block at a size; it is not one here.
        """
        return [
            f"up_blocks.{i}.{'attentions' if hasattr(level, 'attentions') else 'resnets'}.{j}"
            for i, level in enumerate(self._parts.unet.up_blocks)
            for j in range(len(level.resnets))
        ]

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        *,
        rule: AttributionRule = DAAM,
        batch_size: int = 8,
        progress: Progress = lambda _done, _all: None,
    ) -> Generated:
        """Make pictures. Each depends on its own request alone, not on its batch.

        Args:
            requests: all with a name, or none.
            rule: how attention becomes attribution; only used where names are given.
            batch_size: pictures made together.

        Raises:
            ValueError: a name that its prompt does not contain, or a size that is no multiple
                of :attr:`cell`.
            UsageError: a prompt so long that its name is cut off.
        """
        size = self._latent_size(
            sampling.height or self.image_size, sampling.width or self.image_size
        )
        batches = [requests[i : i + batch_size] for i in range(0, len(requests), batch_size)]
        images, maps = [], []
        for number, batch in enumerate(batches):

            def report(done: int, steps: int, before: int = number) -> None:
                progress(before * steps + done, len(batches) * steps)

            totals = self._totals(batch, size, rule)
            latents = self._sample(batch, size, sampling, totals, report)
            images += [self._decode(one, sampling) for one in torch.split(latents, 1)]
            maps += [] if totals is None else [totals.maps()]
        return Generated(np.concatenate(images), torch.cat(maps) if maps else None)

    def _latent_size(self, height: int, width: int) -> tuple[int, int]:
        if height % self.cell or width % self.cell:
            raise ValueError(f"{height}x{width} is no multiple of {self.cell} pixels")
        return height // self.cell, width // self.cell

    def _totals(
        self, batch: Sequence[Request], size: tuple[int, int], rule: AttributionRule
    ) -> AttentionTotals | None:
        names = [request.name for request in batch if request.name is not None]
        if not names:
            return None
        positions = [
            name_positions(self._parts.tokenizer, request.prompt, name, self._text_length)
            for request, name in zip(batch, names, strict=True)
        ]
        return AttentionTotals(positions, size, rule)

    @torch.no_grad()
    def _sample(
        self,
        batch: Sequence[Request],
        size: tuple[int, int],
        sampling: Sampling,
        totals: AttentionTotals | None,
        report: Progress,
    ) -> Tensor:
        """Latents of pictures, ``(B, 4, h, w)`` float32."""
        solver = build_solver(sampling.solver, self._parts.scheduler)
        solver.set_timesteps(sampling.steps, device=self.device)
        texts = [request.prompt for request in batch]
        if sampling.guided:
            texts = [request.negative for request in batch] + texts
        context = self._encode_texts(texts)
        latents: Tensor = self._noise(batch, size)
        latents = latents * solver.init_noise_sigma
        with nullcontext() if totals is None else totals.listening(self._parts.unet):
            for done, timestep in enumerate(solver.timesteps, start=1):
                scaled = solver.scale_model_input(latents, timestep)
                guess = self._guess(scaled, timestep, context, sampling)
                latents = solver.step(guess, timestep, latents).prev_sample
                report(done, len(solver.timesteps))
        return latents

    def _guess(
        self, latents: Tensor, timestep: Tensor, context: Tensor, sampling: Sampling
    ) -> Tensor:
        """What the U-Net predicts, in float32; with guidance, drawn towards the prompt."""
        copies = 2 if sampling.guided else 1
        inputs = latents.repeat(copies, 1, 1, 1).to(self._dtype)
        guess: Tensor = self._parts.unet(inputs, timestep, context).sample.float()
        if not sampling.guided:
            return guess
        without, towards = guess.chunk(2)
        return torch.lerp(without, towards, sampling.guidance)

    def _encode_texts(self, texts: Sequence[str]) -> Tensor:
        """``(B, tokens, width)``, all padded to the longest text that the encoder reads."""
        tokens = self._parts.tokenizer(
            list(texts),
            padding="max_length",
            max_length=self._text_length,
            truncation=True,
            return_tensors="pt",
        )
        return self._encode_ids(tokens.input_ids)

    def _encode_ids(self, ids: Tensor) -> Tensor:
        """``(B, tokens, width)`` of padded texts ``(B, tokens)``."""
        states = self._parts.text_encoder(ids.to(self.device)).last_hidden_state
        encoded: Tensor = states.to(self._dtype)
        return encoded

    def _noise(self, batch: Sequence[Request], size: tuple[int, int]) -> Tensor:
        """Drawn on the CPU, so that a seed means the same noise on every device."""
        shape = (self._parts.unet.config.in_channels, *size)
        noise = [
            torch.randn((one.draw + 1, *shape), generator=_generator(one.seed))[one.draw]
            for one in batch
        ]
        return torch.stack(noise).to(self.device)

    @torch.no_grad()
    def _decode(self, latents: Tensor, sampling: Sampling) -> npt.NDArray[np.uint8]:
        """One picture at a time: the decoder takes more memory than the U-Net."""
        vae = self._parts.vae
        pixels = vae.decode(latents / vae.config.scaling_factor).sample
        levels = (pixels * 127.5 + 127.5).clamp(0, 255)
        if sampling.levels == "rounded":
            levels = levels.round()
        images: npt.NDArray[np.uint8] = levels.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        return images

    @torch.no_grad()
    def features(
        self,
        images: Tensor,
        modules: Sequence[str],
        *,
        timestep: int,
        seed: int | None,
        prompt: str = "",
        sample_latents: bool = False,
        repeat_noise: bool = False,
    ) -> dict[str, Tensor]:
        """What parts of the U-Net make of pictures, with some noise on them or with none.

        The forward pass ends behind the last of the modules. All pictures get the same noise,
        so that none depends on its batch.

        Args:
            images: ``(B, 3, H, W)``, normalised; H and W multiples of :attr:`cell`.
            modules: of the U-Net, such as ``"up_blocks.1.attentions.1"`` or
                ``"mid_block.attentions.0.transformer_blocks.0.attn2.to_q"``.
            timestep: of the noise schedule, from 0.
            seed: of the noise, and before it of the latents where these are sampled; None adds no
                noise, whatever the timestep, and samples nothing.
            sample_latents: draw them from the image encoder's distribution instead of taking
                its mean.
            repeat_noise: begin the seed anew for the timestep's noise, which then is the
                noise that the latents were sampled with.

        Returns:
            Per module ``(B, C, h, w)`` float32, in the order of ``modules``.

        Raises:
            ValueError: a module or a timestep that there is not, a wrong size, or latents to sample
                without a seed.
        """
        size = self._latent_size(images.shape[-2], images.shape[-1])
        noisy = self._noisy(
            images, timestep, seed, sample_latents=sample_latents, repeat_noise=repeat_noise
        )
        context = self._encode_texts([prompt]).expand(len(images), -1, -1)
        unet = self._parts.unet
        found = read_modules(unet, modules, lambda: unet(noisy, timestep, context))
        return {name: on_grid(output, size).float() for name, output in found.items()}

    def continued(self, beginning: str, rest: str) -> Continued:
        """A text for :meth:`look`; see :func:`~ovbench.models.diffusion.prompts.continued`."""
        return continued(self._parts.tokenizer, beginning, rest, self._text_length)

    @torch.no_grad()
    def noisy(self, image: Tensor, *, timestep: int, seed: int) -> Noisy:
        """Encode a picture for :meth:`look`; all pictures get the same noise.

        Args:
            image: ``(3, H, W)``, normalised; H and W multiples of :attr:`cell`.
            timestep: of the noise schedule, from 0.
            seed: of the latents, which are sampled, and of the noise behind them.

        Raises:
            ValueError: a timestep that there is not, or a wrong size.
        """
        self._latent_size(image.shape[-2], image.shape[-1])
        return Noisy(self._noisy(image[None], timestep, seed, sample_latents=True), timestep)

    @torch.no_grad()
    def look(
        self,
        picture: Noisy,
        texts: Sequence[Continued],
        positions: Sequence[Sequence[int]],
        *,
        emphasis: float = 1.0,
    ) -> Looking:
        """The attention of a picture, in one pass with each text; none sees the others.

        Args:
            picture: from :meth:`noisy`.
            texts: at least one.
            positions: per text the tokens that are listened for, at least one.
            emphasis: how far the states of each name's last word are from those of an empty text,
                in proportion to where the text encoder puts them.
        """
        states = self._encode_ids(torch.tensor([text.ids for text in texts]))
        if emphasis != 1:
            nothing = self._encode_texts([""])[0]
            for text, own in zip(texts, states, strict=True):
                word = slice(text.word[0], text.word[1] + 1)
                own[word] = nothing[word].lerp(own[word], emphasis)
        height, width = picture.latents.shape[-2:]
        looking = Looking(positions, (height, width))
        with looking.listening(self._parts.unet):
            latents = picture.latents.expand(len(texts), -1, -1, -1)
            self._parts.unet(latents, picture.timestep, states)
        return looking

    def _noisy(
        self,
        images: Tensor,
        timestep: int,
        seed: int | None,
        *,
        sample_latents: bool,
        repeat_noise: bool = False,
    ) -> Tensor:
        """The U-Net's input, ``(B, 4, h, w)`` in its precision; see :meth:`features`."""
        steps = self._parts.scheduler["num_train_timesteps"]
        if not 0 <= timestep < steps:
            raise ValueError(f"timestep {timestep} is not one of 0..{steps - 1}")
        if seed is None and sample_latents:
            raise ValueError("sample_latents needs a seed")
        generator = None if seed is None else _generator(seed)
        noisy = latents = self._encode(images, generator if sample_latents else None)
        if seed is not None:
            if repeat_noise:
                generator = _generator(seed)
            noise = torch.randn(latents.shape[1:], generator=generator).to(self.device)
            at = torch.tensor([timestep], device=self.device)
            noisy = self._add_noise(latents, noise[None], at)
        return noisy.to(self._dtype)

    def _encode(self, images: Tensor, generator: torch.Generator | None) -> Tensor:
        """Latents ``(B, 4, h, w)`` float32, sampled where there is a generator, else the mean."""
        vae = self._parts.vae
        found = vae.encode(images.to(self.device, self._dtype)).latent_dist
        latents = found.mean.float()
        if generator is not None:
            noise = torch.randn(latents.shape[1:], generator=generator).to(self.device)
            latents = latents + found.std.float() * noise
        scaled: Tensor = latents * vae.config.scaling_factor
        return scaled


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def load_diffusion(name: str, runtime: Runtime) -> Diffusion:
    """Load a Stable Diffusion 1.x.

    Args:
        name: in the catalogue, such as ``"stable_diffusion_v1_5"``, or a hub id, optionally
            with ``@revision``.
        runtime: its ``checkpoints`` decide between this and the packaged miniature.

    Raises:
        UsageError: weights that cannot be had, or are not those of such a model.
    """
    located = locate(ROLE, name, runtime)
    return Diffusion(load_parts(located.path), located.records, runtime)
