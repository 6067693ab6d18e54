"""Florence-2: told a task and a phrase, it writes where the phrase is, as tokens of places.

Xiao et al., "Florence-2: Advancing a Unified Representation for a Variety of Vision Tasks"
(CVPR 2024), through transformers' ``Florence2ForConditionalGeneration``. A picture passes the
vision tower once; the rest runs for every phrase, since texts and picture are encoded together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ovbench.errors import UsageError
from ovbench.harness.contract.arrays import Image
from ovbench.harness.contract.runtime import CheckpointRecord, Runtime
from ovbench.models.precision import DTYPES, autocast, frozen
from ovbench.models.weights.checkpoints import locate
from ovbench.models.weights.pretrained import reading, stock
from ovbench.models.weights.untrained import seeded, untrained

ROLE = "florence2"
SIDE = 768
"""Of the squares that it sees, in pixels."""

Task = Literal["<REFERRING_EXPRESSION_SEGMENTATION>", "<OPEN_VOCABULARY_DETECTION>"]


class Places(NamedTuple):
    """What was written of one phrase; either may be empty.

    Attributes:
        polygons: each ``(k, 2)``, x and y in pixels of the picture, three points at least.
        boxes: ``(n, 4)``: left, top, right, bottom in pixels of the picture.
    """

    polygons: list[npt.NDArray[np.int64]]
    boxes: npt.NDArray[np.int64]


class Florence2:
    """A frozen ``Florence2ForConditionalGeneration``. Precisions other than float32 are autocast.

    Attributes:
        checkpoints: which weights these are.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        checkpoints: tuple[CheckpointRecord, ...],
        runtime: Runtime,
    ) -> None:
        """Wrap a built model, which is frozen and moved in place, and its processor."""
        self._model = frozen(model, runtime.device)
        self._processor = processor
        self._dtype = DTYPES[runtime.precision]
        self.checkpoints = checkpoints
        self.device = torch.device(runtime.device)

    @torch.inference_mode()
    def see(self, image: Image) -> Tensor:
        """A picture for :meth:`ask`: its tokens ``(1, n, d)``, squashed as the processor does."""
        own = np.array(image)  # images may be read-only, of which PyTorch warns
        pixels = self._processor.image_processor(images=[own], return_tensors="pt")
        with autocast(self.device, self._dtype):
            seen = self._model.get_image_features(pixels["pixel_values"].to(self.device))
        tokens: Tensor = seen.pooler_output
        return tokens.float()

    @torch.inference_mode()
    def ask(
        self,
        picture: Tensor,
        task: Task,
        phrases: Sequence[str],
        size: tuple[int, int],
        *,
        beams: int,
        most_tokens: int,
    ) -> list[Places]:
        """Where phrases are, which go through the network together.

        Args:
            size: height and width of the picture.
            beams: of the search for the likeliest answer.
            most_tokens: of an answer; a place takes two, a box four.
        """
        processor, model = self._processor, self._model
        sentence = processor.task_prompts_with_input[task]
        words = processor.tokenizer
        before = processor.image_token * picture.shape[1] + words.bos_token
        texts = [before + sentence.format(input=phrase) + words.eos_token for phrase in phrases]
        read = words(texts, add_special_tokens=False, padding=True, return_tensors="pt")
        ids, mask = (read[key].to(self.device) for key in ("input_ids", "attention_mask"))
        embedded = model.get_input_embeddings()(ids)
        with autocast(self.device, self._dtype):
            embedded = embedded.masked_scatter(
                (ids == processor.image_token_id)[..., None],
                picture.expand(len(texts), -1, -1).to(embedded.dtype),
            )
            encoder = model.get_encoder()
            written = model.generate(
                encoder_outputs=encoder(inputs_embeds=embedded, attention_mask=mask),
                attention_mask=mask,
                max_new_tokens=most_tokens,
                num_beams=beams,
                do_sample=False,
            )
        return [self._places(tokens, task, size) for tokens in written]

    def _places(self, written: Tensor, task: Task, size: tuple[int, int]) -> Places:
        """What tokens ``(n,)`` say, by transformers' own rules."""
        said = self._processor.post_process_generation(
            sequence=written, task=task, image_size=(size[1], size[0])
        )[task]
        polygons = [
            np.array(flat, np.int64).reshape(-1, 2)
            for instance in said["polygons"]
            for flat in instance
            if len(flat) >= 6
        ]
        return Places(polygons, np.array(said.get("bboxes", []), np.int64).reshape(-1, 4))


def load_florence2(name: str, runtime: Runtime) -> Florence2:
    """Load a Florence-2.

    Args:
        name: in the catalogue, such as ``"florence2_large"``, a hub id, optionally with
            ``@revision``, or ``"random"`` for seeded random weights of the published size and
            words made up, which serve to measure speed.

    Raises:
        UsageError: weights that cannot be had, or are not those of such a model.
    """
    from transformers import Florence2ForConditionalGeneration, Florence2Processor

    if untrained(name, runtime):
        record = CheckpointRecord(ROLE, "Florence-2, random weights", None, None)
        made = made_up_processor(["<unk>", *(f"word{i}" for i in range(50261))], SIDE)
        with seeded(runtime):
            model = Florence2ForConditionalGeneration(_large(made.image_token_id))
        return Florence2(model, made, (record,), runtime)
    located = locate(ROLE, name, runtime)
    with reading(located.path):
        processor = Florence2Processor.from_pretrained(located.path)
    if not processor.post_processor_config:
        raise UsageError(
            f"{located.path}: its processor does not say how answers are read; take one that was "
            "converted for transformers, such as florence-community/Florence-2-large"
        )
    model = stock(Florence2ForConditionalGeneration, located.path)
    return Florence2(model, processor, located.records, runtime)


def _large(image_token_id: int) -> Any:
    """Florence-2-large; 50,265 words as BART has, 1,024 marks, and the picture's."""
    from transformers import Florence2Config

    wide = (256, 512, 1024, 2048)
    heads = (8, 16, 32, 64)
    return Florence2Config(
        vision_config={
            "embed_dim": wide, "num_heads": heads, "num_groups": heads, "projection_dim": 1024
        },
        text_config={
            "model_type": "bart", "vocab_size": 51290, "d_model": 1024, "encoder_layers": 12,
            "decoder_layers": 12, "encoder_ffn_dim": 4096, "decoder_ffn_dim": 4096,
            "encoder_attention_heads": 16, "decoder_attention_heads": 16,
            "max_position_embeddings": 4096,
        },
        image_token_id=image_token_id,
        tie_word_embeddings=True,
    )  # fmt: skip


def made_up_processor(words: Sequence[str], side: int) -> Any:
    """A processor with words of one's own and Florence-2's marks, for weights that know none.

    Args:
        words: "<unk>" among them.
        side: of the squares in pixels, a multiple of 32.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import CLIPImageProcessor, Florence2Processor, PreTrainedTokenizerFast

    first = ["<s>", "<pad>", "</s>", *words]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(first)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        extra_special_tokens={"image_token": "<image>"},
    )
    # As processing_florence2.py of microsoft/Florence-2-large adds them.
    marks = (
        "cap /cap ncap /ncap dcap /dcap grounding /grounding seg /seg sep region_cap /region_cap"
    )
    rest = "region_to_desciption /region_to_desciption proposal /proposal poly /poly and"
    fast.add_tokens(
        [
            *("<od>", "</od>", "<ocr>", "</ocr>"),
            *(f"<loc_{i}>" for i in range(1000)),
            *(f"<{mark}>" for mark in f"{marks} {rest}".split()),
        ]
    )
    pictures = CLIPImageProcessor(
        size={"height": side, "width": side},
        do_center_crop=False,
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
    )
    pictures.image_seq_length = (side // 32) ** 2 + 1
    kinds: dict[str, Any] = {"polygons": {}, "description_with_bboxes_or_polygons": {}}
    return Florence2Processor(pictures, fast, post_processor_config=kinds)
