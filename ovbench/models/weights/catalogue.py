"""Which weights the methods use, where they come from, and under which licence.

Data and nothing else: no network, no torch. Licences, sizes and file formats are those that
the source's own page stated when it was read; where it could not be, none is claimed.

A method declares its files in four places, and everything that tells of them, from the line of an
offline run to ``ovbench weights list`` and ``fetch``, reads these:

1. an :class:`Entry` here for every checkpoint. Its source is a :class:`Repository` of the hub or an
   :class:`OfficialFile`; one that no program can fetch, such as of a drive or behind a login, is
   ``OfficialFile(page, name, None, by_hand=True)``. Several files are several entries, whose
   ``beside`` names what is loaded with them.
2. the setting that chooses among them: ``setting("tcl_vitb16", ..., picks="tcl/{weights}")``.
3. the card's ``weights``: what the defaults load, ``"tcl/tcl_vitb16"``.
4. the loader: ``locate("tcl", settings.weights, runtime)``, which finds or fetches it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rich.filesize import decimal

from ovbench.errors import UsageError
from ovbench.harness.contract.checks.nearest import nearest

Need = tuple[tuple[str, ...], ...]
"""Something a model is loaded from: alternatives in order of preference, each a set of files.
An empty set as the last one means that a repository may be without."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A folder on the Hugging Face hub.

    Attributes:
        id: ``"owner/name"``, optionally with ``@revision`` (a branch, tag or commit).
        needs: what is taken from it.
        pickled: it had no safetensors when it was looked at, but in unmerged pull requests.
        gated: its page has a licence to accept before anything of it is given out.
    """

    id: str
    needs: tuple[Need, ...]
    pickled: bool = False
    gated: bool = False


@dataclass(frozen=True, slots=True)
class OfficialFile:
    """One file that the authors publish.

    Attributes:
        url: where it is.
        name: what it is called on this machine, in the folder of
            :func:`~ovbench.models.weights.official.path_of`.
        sha256: of its content; None where nobody states it, so that what is found first is
            recorded, and another content later is an error.
        by_hand: only a person can fetch it, and ``url`` is the page to do so from.
        form: that page has a form to fill in before it sends addresses.
    """

    url: str
    name: str
    sha256: str | None
    by_hand: bool = False
    form: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """One checkpoint.

    Attributes:
        role: what it is for; the folder of the miniature that stands in for it.
        name: unique within the role.
        source: where it comes from.
        licence: of the weights.
        summary: what it is.
        size: of the weights in bytes, or None where the source was not seen to say. Pages of
            the hub give three digits.
        beside: ``"role/name"`` of what is loaded with it and chosen by no setting.
    """

    role: str
    name: str
    source: Repository | OfficialFile
    licence: str
    summary: str
    size: int | None
    beside: tuple[str, ...] = ()

    @property
    def by_hand(self) -> bool:
        """Whether only a person can fetch it."""
        return isinstance(self.source, OfficialFile) and self.source.by_hand

    @property
    def gated(self) -> bool:
        """Whether its page gives nothing out before a licence is accepted or a form filled in."""
        source = self.source
        return source.gated if isinstance(source, Repository) else source.form


def _one_of(*names: str) -> Need:
    return tuple((name,) for name in names)


def _all_of(*names: str) -> tuple[Need, ...]:
    return tuple(_one_of(name) for name in names)


def _if_there(*names: str) -> tuple[Need, ...]:
    return tuple(((name,), ()) for name in names)


_WEIGHTS = _one_of("model.safetensors", "pytorch_model.bin")
_UNET_OR_VAE = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
_ENCODER = _all_of("config.json")
_MATCHER = (
    *_all_of("config.json", "preprocessor_config.json", "tokenizer.json"),
    *_if_there("tokenizer_config.json"),
)
_STABLE_DIFFUSION = (
    *_all_of("model_index.json", "scheduler/scheduler_config.json"),
    *_all_of("text_encoder/config.json", "unet/config.json", "vae/config.json"),
    (("tokenizer/vocab.json", "tokenizer/merges.txt"), ("tokenizer/tokenizer.json",)),
    *_if_there("tokenizer/tokenizer_config.json", "feature_extractor/preprocessor_config.json"),
    _one_of("text_encoder/model.safetensors", "text_encoder/pytorch_model.bin"),
    _one_of(*(f"vae/{name}" for name in _UNET_OR_VAE)),
    _one_of(*(f"unet/{name}" for name in _UNET_OR_VAE)),
)

LAYOUTS: Mapping[str, tuple[Need, ...]] = {
    "clip": (_one_of("open_clip_model.safetensors", "open_clip_pytorch_model.bin"),),
    "clipseg": (*_all_of("config.json"), _WEIGHTS),
    "blip": (*_MATCHER, _WEIGHTS),
    "blip_captioner": (*_MATCHER, _WEIGHTS),
    "bridgetower": (*_MATCHER, _WEIGHTS),
    "dino": (*_ENCODER, _WEIGHTS),
    "dinov2": (*_ENCODER, _WEIGHTS),
    "groupvit": (*_all_of("config.json"), _WEIGHTS),
    "grounding_dino": (
        *_all_of("config.json", "tokenizer.json"),
        *_if_there("tokenizer_config.json"),
        _WEIGHTS,
    ),
    "florence2": (
        *_all_of("config.json", "processor_config.json"),
        *_all_of("tokenizer.json", "tokenizer_config.json"),
        *_if_there("preprocessor_config.json", "generation_config.json"),
        _WEIGHTS,
    ),
    "panoptic": (*_all_of("config.json", "preprocessor_config.json"), _WEIGHTS),
    "owlv2": (*_all_of("config.json"), _WEIGHTS),
    "sam": (*_all_of("config.json"), _WEIGHTS),
    "sam3": (*_all_of("config.json"), _WEIGHTS),
    "seggpt": (*_all_of("config.json"), _WEIGHTS),
    "painter": (*_all_of("config.json"), _WEIGHTS),
    "stable_diffusion": _STABLE_DIFFUSION,
    "tokenizer": _all_of("tokenizer.json"),
}
"""What a role takes from a repository. Roles that are not here have official files alone."""


def _hub(
    role: str, name: str, repository: str, licence: str, summary: str, megabytes: int = 0
) -> Entry:
    source = Repository(repository, LAYOUTS[role])
    return Entry(role, name, source, licence, summary, megabytes * 10**6 or None)


def _pickled(
    role: str, name: str, repository: str, licence: str, summary: str, megabytes: int
) -> Entry:
    source = Repository(repository, LAYOUTS[role], pickled=True)
    return Entry(role, name, source, licence, summary, megabytes * 10**6)


def _gated(role: str, name: str, repository: str, licence: str, summary: str) -> Entry:
    source = Repository(repository, LAYOUTS[role], gated=True)
    return Entry(role, name, source, f"{licence}, gated", summary, None)


def _clip(name: str, repository: str, licence: str, summary: str, megabytes: int = 0) -> Entry:
    """Named as open_clip names it: architecture and tag."""
    return _hub("clip", name, repository, licence, f"CLIP {summary}", megabytes)


def _sam(name: str, file: str, sha256: str, summary: str, size: int) -> Entry:
    # Licence and addresses: the README of facebookresearch/segment-anything. The digits in the
    # files' names begin their MD5; SHA-256 and size as several public copies state them.
    url = f"https://dl.fbaipublicfiles.com/segment_anything/{file}"
    return Entry("sam", name, OfficialFile(url, file, sha256), "apache-2.0", summary, size)


def _groupvit_file(data: str, file: str) -> Entry:
    url = f"https://github.com/xvjiarui/GroupViT-1/releases/download/v1.0.0/{file}"
    summary = f"GroupViT of {data}, the authors' own file"
    name = f"groupvit_gcc_{data}_30e"
    return Entry("groupvit", name, OfficialFile(url, file, None), _NVIDIA, summary, None)


def _catseg(size: str, clip: str) -> Entry:
    # Address: the README of KU-CVLAB/CAT-Seg; licence: of its code.
    url = f"https://huggingface.co/spaces/hamacojr/CAT-Seg-weights/resolve/main/model_{size}.pth"
    file = OfficialFile(url, f"catseg_model_{size}.pth", None)
    summary = f"CAT-Seg on CLIP {clip}, which it holds, trained on COCO-Stuff"
    return Entry("catseg", f"catseg_{size}", file, "none stated; the code is mit", summary, None)


def _simseg(size: str, summary: str) -> Entry:
    # Address and name: the README of muyangyi/SimSeg.
    page = "https://drive.google.com/drive/folders/1p2hO6LK1usO3q-S8ZtCK8jLaT941WPNW"
    file = OfficialFile(page, f"simseg.vit-{size}.pth", None, by_hand=True)
    beside = ("tokenizer/bert_base_uncased",)
    summary = f"SimSeg {summary}, trained on CC3M and CC12M"
    licence = "none stated; the code is mit"
    return Entry("simseg", f"simseg_vit{size}", file, licence, summary, None, beside)


def _talk2dino(name: str, file: str, encoder: str, sha256: str | None, size: int | None) -> Entry:
    # Address and licence: the repository lorebianchi98/Talk2DINO, which has none.
    commit = "4918c2df1d00c644ecc7f34de070694af1a8bc69"
    url = f"https://github.com/lorebianchi98/Talk2DINO/raw/{commit}/weights/{file}.pth"
    official = OfficialFile(url, f"talk2dino_{file}.pth", sha256)
    summary = f"Talk2DINO: CLIP ViT-B/16's texts mapped to {encoder}, trained on COCO's captions"
    return Entry("talk2dino", f"talk2dino_{name}", official, "none stated", summary, size)


def _dinotxt(role: str, part: str, summary: str, *beside: str) -> Entry:
    # Addresses: the README of facebookresearch/dinov2; licence: of its models.
    folder = "https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14"
    file = f"dinov2_vitl14_reg4_dinotxt_tet1280d20h24l_{part}.pth"
    official = OfficialFile(f"{folder}/{file}", file, None)
    return Entry(role, "dinotxt_dinov2_vitl14", official, "apache-2.0", summary, None, beside)


def _rankings(base: str, folder: str, *files: tuple[str, int]) -> list[Entry]:
    # Address and licence: the repository yasserben/FLOSS, which has none.
    commit = "ccf1d49dba37d0e35316dc50be57d133745a168a"
    url = f"https://github.com/yasserben/FLOSS/raw/{commit}/rankings/{folder}"
    found = []
    for (benchmark, theirs), (sha256, size) in zip(_RANKED.items(), files, strict=True):
        file = f"template_rankings_{folder}_{theirs}.json"
        official = OfficialFile(f"{url}/{file}", f"floss_{file}", sha256)
        summary = f"FLOSS: how sure templates are on {benchmark}'s training pictures, by {base}"
        name = f"floss_{base.lower().replace('-', '_')}_{benchmark}"
        found.append(Entry("floss", name, official, "none stated", summary, size))
    return found


_RANKED = {
    "voc20": "pascalvoc20", "context59": "pascalco59", "cocostuff": "cocostuff",
    "ade20k": "ade20k", "cityscapes": "cityscapes",
}  # fmt: skip
"""Benchmarks, and what the authors' files call them."""


def _radio(size: str, folder: str, file: str, summary: str, megabytes: int) -> Entry:
    # Address: radio/common.py of NVlabs/RADIO; licence and size: the page of nvidia/C-RADIOv3-*.
    url = f"https://huggingface.co/nvidia/C-RADIOv3-{folder}/resolve/main/{file}"
    summary = f"C-RADIOv3 {summary}, taught by CLIP, SigLIP 2, DINOv2 and SAM"
    official = OfficialFile(url, file, None)
    licence = "nvidia-open-model-license"
    return Entry("radio", f"c_radio_v3_{size}", official, licence, summary, megabytes * 10**6)


def _student(teacher: str, benchmark: str, page: str, config: str) -> Entry:
    # Pages and licence of the code: configs/maskclip_plus/README.md of chongzhou96/MaskCLIP. What
    # the drive calls a file was not seen: it is named after its configuration.
    url = f"https://entuedu-my.sharepoint.com/:u:/g/personal/chong033_e_ntu_edu_sg/{page}"
    file = OfficialFile(url, f"maskclip_plus_{config}.pth", None, by_hand=True)
    summary = f"MaskCLIP+: what {teacher} says of {benchmark}'s training images, without labels"
    name = f"maskclip_plus_{teacher}_{benchmark}"
    return Entry("maskclip_plus", name, file, "none stated; the code is apache-2.0", summary, None)


def _reco_file(benchmark: str, categories: int) -> Entry:
    url = (
        f"https://www.robots.ox.ac.uk/~vgg/research/reco/shared_files/{benchmark}/"
        "deit_s_16_sin_in_train_ce_ta_cat_to_img_feature_k50.pkl"
    )
    name = f"reco_{benchmark}"
    file = OfficialFile(url, f"{name}_k50.pkl", None)
    summary = f"ReCo: vectors of {categories} categories, made of ImageNet's pictures"
    return Entry("reco", name, file, "none stated", summary, None)


_UNREAD = "see its page"
_NVIDIA = "none stated; the code is non-commercial"

ENTRIES: Sequence[Entry] = (
    _clip("ViT-B-16 openai", "timm/vit_base_patch16_clip_224.openai", "apache-2.0",
          "ViT-B/16", 599),
    _clip("ViT-B-32 openai", "timm/vit_base_patch32_clip_224.openai", "apache-2.0",
          "ViT-B/32", 605),
    _clip("ViT-L-14-336 openai", "timm/vit_large_patch14_clip_336.openai", _UNREAD,
          "ViT-L/14 at 336 pixels"),
    _clip("ViT-L-14 openai", "timm/vit_large_patch14_clip_224.openai", _UNREAD,
          "ViT-L/14"),
    _clip("RN50 openai", "timm/resnet50_clip.openai", "mit", "ResNet-50", 408),
    _clip("RN50x16 openai", "timm/resnet50x16_clip.openai", _UNREAD, "ResNet-50, 16 times as wide"),
    _clip("ViT-B-32 laion2b_s34b_b79k", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", _UNREAD,
          "ViT-B/32 trained on LAION-2B"),
    _clip("ViT-B-16 laion2b_s34b_b88k", "laion/CLIP-ViT-B-16-laion2B-s34B-b88K", "mit",
          "ViT-B/16 trained on LAION-2B"),
    _clip("ViT-L-14 laion2b_s32b_b82k", "laion/CLIP-ViT-L-14-laion2B-s32B-b82K", "mit",
          "ViT-L/14 trained on LAION-2B, with mean and deviation 0.5"),
    _clip("ViT-H-14 laion2b_s32b_b79k", "laion/CLIP-ViT-H-14-laion2B-s32B-b79K", "mit",
          "ViT-H/14 trained on LAION-2B"),
    _clip("ViT-B-16-quickgelu metaclip_fullcc", "timm/vit_base_patch16_clip_224.metaclip_2pt5b",
          "cc-by-nc-4.0", "ViT-B/16 trained on MetaCLIP's 2.5 billion pairs"),
    _clip("ViT-L-14-quickgelu metaclip_fullcc", "timm/vit_large_patch14_clip_224.metaclip_2pt5b",
          "cc-by-nc-4.0", "ViT-L/14 trained on MetaCLIP's 2.5 billion pairs"),
    _clip("ViT-B-16-quickgelu dfn2b", "apple/DFN2B-CLIP-ViT-B-16", _UNREAD,
          "ViT-B/16 trained on DFN-2B"),
    _clip("ViT-L-16-SigLIP2-256 webli", "timm/ViT-L-16-SigLIP2-256", "apache-2.0",
          "SigLIP 2 ViT-L/16 at 256 pixels"),
    _clip("ViT-B-16-SigLIP2 webli", "timm/ViT-B-16-SigLIP2", "apache-2.0",
          "SigLIP 2 ViT-B/16 at 224 pixels"),
    _clip("ViT-SO400M-16-SigLIP2-384 webli", "timm/ViT-SO400M-16-SigLIP2-384", "apache-2.0",
          "SigLIP 2 SO400M ViT/16 at 384 pixels"),
    # Licence: of google/siglip2-giant-opt-patch16-384, whose weights these are.
    _clip("ViT-gopt-16-SigLIP2-384 webli", "timm/ViT-gopt-16-SigLIP2-384", "apache-2.0",
          "SigLIP 2 giant-opt ViT/16 at 384 pixels"),
    _clip("PE-Core-B-16 meta", "timm/PE-Core-B-16", "apache-2.0",
          "Perception Encoder ViT-B/16 at 224 pixels"),
    _clip("PE-Core-L-14-336 meta", "timm/PE-Core-L-14-336", "apache-2.0",
          "Perception Encoder ViT-L/14 at 336 pixels"),
    _pickled("blip", "blip_flickr", "Salesforce/blip-itm-large-flickr", "bsd-3-clause",
             "BLIP ViT-L, image-text matching, tuned on Flickr30k", 1780),
    _pickled("blip", "blip_coco", "Salesforce/blip-itm-large-coco", "bsd-3-clause",
             "BLIP ViT-L, image-text matching, tuned on COCO", 1780),
    _hub("blip_captioner", "blip_captioning_large", "Salesforce/blip-image-captioning-large",
         _UNREAD, "BLIP ViT-L, captions"),
    _pickled("bridgetower", "bridgetower_large_itm", "BridgeTower/bridgetower-large-itm-mlm",
             "mit", "BridgeTower large, image-text matching", 3670),
    _hub("dino", "dino_vitb8", "facebook/dino-vitb8", "apache-2.0", "DINO ViT-B/8", 343),
    _hub("dino", "dino_vits8", "facebook/dino-vits8", "apache-2.0", "DINO ViT-S/8", 87),
    _pickled("dino", "dino_vitb16", "facebook/dino-vitb16", "apache-2.0", "DINO ViT-B/16", 343),
    _pickled("dino", "dino_vits16", "facebook/dino-vits16", "apache-2.0", "DINO ViT-S/16", 87),
    # Address and licence: the README of facebookresearch/long_seq_mae.
    Entry("dino", "mae_longseq_vit_base_imgnet",
          OfficialFile("https://dl.fbaipublicfiles.com/long_seq_mae/pretrained_models/in1k/"
                       "vitb_dec384d12h8b_1600ep_img448_crop0.2-1.0_maskds2.pth",
                       "vitb_dec384d12h8b_1600ep_img448_crop0.2-1.0_maskds2.pth", None),
          "cc-by-nc-4.0", "MAE ViT-B/16, trained at 448 pixels", None),
    # Address and licence: the README of facebookresearch/mae.
    Entry("dino", "mae_vit_base",
          OfficialFile("https://dl.fbaipublicfiles.com/mae/pretrain/mae_pretrain_vit_base.pth",
                       "mae_pretrain_vit_base.pth", None),
          "cc-by-nc-4.0", "MAE ViT-B/16", None),
    # Address: utils/utils.py of NoelShin/reco.
    Entry("dino", "deit_s_sin_dist",
          OfficialFile("https://github.com/Muzammal-Naseer/Intriguing-Properties-of-Vision-"
                       "Transformers/releases/download/v0/deit_s_sin_dist.pth",
                       "deit_s_sin_dist.pth", None),
          "none stated", "DeiT-S/16, distilled, trained on stylised ImageNet", None),
    _hub("dinov2", "dinov2_small", "facebook/dinov2-small", "apache-2.0", "DINOv2 ViT-S/14", 88),
    _hub("dinov2", "dinov2_base", "facebook/dinov2-base", "apache-2.0", "DINOv2 ViT-B/14", 346),
    _hub("dinov2", "dinov2_large", "facebook/dinov2-large", "apache-2.0",
         "DINOv2 ViT-L/14", 1220),
    _hub("dinov2", "dinov2_registers_base", "facebook/dinov2-with-registers-base", "apache-2.0",
         "DINOv2 ViT-B/14 with registers"),
    _hub("dinov2", "dinov2_registers_large", "facebook/dinov2-with-registers-large", "apache-2.0",
         "DINOv2 ViT-L/14 with registers"),
    _gated("dinov2", "dinov3_vitb16", "facebook/dinov3-vitb16-pretrain-lvd1689m",
           "DINOv3 License", "DINOv3 ViT-B/16"),
    _gated("dinov2", "dinov3_vitl16", "facebook/dinov3-vitl16-pretrain-lvd1689m",
           "DINOv3 License", "DINOv3 ViT-L/16"),
    _pickled("groupvit", "groupvit_gcc_yfcc", "nvidia/groupvit-gcc-yfcc", _NVIDIA,
             "GroupViT trained on CC3M, CC12M and YFCC14M", 223),
    _pickled("groupvit", "groupvit_gcc_redcaps", "nvidia/groupvit-gcc-redcaps", _NVIDIA,
             "GroupViT trained on CC3M, CC12M and RedCaps12M", 223),
    # Addresses: the README of NVlabs/GroupViT, which links to the author's repository.
    _groupvit_file("yfcc", "group_vit_gcc_yfcc_30e-879422e0.pth"),
    _groupvit_file("redcaps", "group_vit_gcc_redcap_30e-3dd09a76.pth"),
    # Address: the README of Jazzcharles/OVSegmentor, whose two rows link to this one file.
    Entry("ovsegmentor", "ovsegmentor_vitb_bert",
          OfficialFile("https://drive.google.com/file/d/10F3b3FNzPdDx8LuKdjc1BzbSLMrPLvnc/view",
                       "ovsegmentor_vitb_bert.pth", None, by_hand=True),
          _NVIDIA, "OVSegmentor: ViT-B/16 and BERT-base", None,
          ("tokenizer/bert_base_uncased",)),
    # Address: the README of ArrowLuo/SegCLIP.
    Entry("segclip", "segclip_vitb16",
          OfficialFile("https://github.com/ArrowLuo/SegCLIP/releases/download/checkpoint_v0/"
                       "segclip.bin", "segclip.bin", None),
          "none stated, nor of the code", "SegCLIP: CLIP ViT-B/16 and eight centres", None),
    # Addresses: the README of NoelShin/reco.
    _reco_file("cityscapes", 27),
    _reco_file("coco_stuff", 171),
    _reco_file("kitti_step", 19),
    # Address: the README of kakaobrain/tcl.
    Entry("tcl", "tcl_vitb16",
          OfficialFile("https://github.com/kakaobrain/tcl/releases/download/v1.0.0/tcl.pth",
                       "tcl.pth", None),
          "none stated; the code is mit", "TCL: masker on CLIP ViT-B/16", None),
    # Address and licence: the repository wysoczanska/clip_dinoiser.
    Entry("clip_dinoiser", "clip_dinoiser_vitb16",
          OfficialFile("https://github.com/wysoczanska/clip_dinoiser/raw/main/checkpoints/last.pt",
                       "clip_dinoiser_last.pt", None),
          "apache-2.0", "CLIP-DINOiser: two convolutions on CLIP ViT-B/16 of LAION-2B", None),
    # Digests of the repository's own files; those for ViT-L were not seen.
    _talk2dino("vitb", "vitb_mlp_infonce", "DINOv2 ViT-B/14 with registers",
               "5f6efcc520f22916ecf3dfdfb01d6f57e701c1c2e1feda71a80d89e3cd752f0f", 3940664),
    _talk2dino("vitl", "vitl_mlp_infonce", "DINOv2 ViT-L/14 with registers", None, None),
    _talk2dino("dinov3_vitb", "dinov3_vitb_mlp_infonce", "DINOv3 ViT-B/16",
               "6fc5ce7a05d8f1c829c174d87b861da05399cf0bfe50de3711ac940115d85fcc", 3940311),
    _talk2dino("dinov3_vitl", "dinov3_vitl_mlp_infonce", "DINOv3 ViT-L/16", None, None),
    _dinotxt("dinotxt", "vision_head", "dino.txt: head on DINOv2 ViT-L/14 with registers",
             "dinotxt_text/dinotxt_dinov2_vitl14", "dinov2/dinov2_registers_large"),
    _dinotxt("dinotxt_text", "text_encoder", "dino.txt: texts where that head's patches are"),
    # Page: the README of aimagelab/freeda; the other half, prototype_embeddings, is a folder.
    Entry("freeda", "freeda_coco_nouns",
          OfficialFile("https://drive.google.com/file/d/1FHjpM0aqPf9OjiuG_341EMlEuq6hsh6L/view",
                       "freeda/faiss_index/knn.index", None, by_hand=True),
          "none stated, nor of the code", "FreeDA: what diffusion shows of COCO's nouns",
          None),
    # Page, name and licence: the README and dinov3/hub/dinotxt.py of facebookresearch/dinov3.
    Entry("dinotxt", "dinotxt_dinov3_vitl16",
          OfficialFile("https://ai.meta.com/resources/models-and-libraries/dinov3-downloads/",
                       "dinov3_vitl16_dinotxt_vision_head_and_text_encoder-a442d8f5.pth", None,
                       by_hand=True, form=True),
          "DINOv3 License, gated", "dino.txt: head and text tower on DINOv3 ViT-L/16", None,
          ("dinov2/dinov3_vitl16",)),
    # Not all of a name's hyphens are where the others have them.
    _radio("b", "B", "c-radio_v3-b_half.pth.tar", "ViT-B/16", 547),
    _radio("l", "L", "c-radio-v3_l_half.pth.tar", "ViT-L/16", 1000),
    _radio("h", "H", "c-radio_v3-h_half.pth.tar", "ViT-H/16", 1850),
    *_rankings(
        "NACLIP", "naclip",
        ("0d1b1a3a36c10bc89ee153944138990b52fff05313a384d882842fee0c22be5b", 259053),
        ("b716c6c02485e648aba09ab272f7bc6eee09e301c39041d1f69bc8b40793a924", 765304),
        ("d422cc119c465938e572523a977bdceee84ed5a466d31a0ce7c5f1b86b14ecb0", 2224740),
        ("212f46e197254211b704a45308f9b458bc622cfa8cf212e3fbfa48eb14460290", 1951842),
        ("92057a80c302942d83d18709ed3c8da53bedd312e55e3683ce957202071b3b00", 246708),
    ),
    *_rankings(
        "MaskCLIP", "maskclip",
        ("96b1d6a8963df44f50b7c1535bc5693fa87a086306ebc8084434bb02dcb72f91", 258683),
        ("45c8c254e64b90292b76525e5ea01381a3615c5faca15130752d7ee25f8853cd", 764209),
        ("52d5ab4b7e7787e70078424a405af8d216076a0fb7edf0e883481b7651067853", 2220821),
        ("48a9479ff3b224aaa9f2590016950fd53adc899ff4e135ddf8b18522ebf40827", 1948116),
        ("89413bd59f7c9a5d1b02592a8b2e3ad7682a123be8b1851b5dc3d80c505907c0", 246186),
    ),
    *_rankings(
        "CLIP-DINOiser", "clipdinoiser",
        ("f5f25b724d3f1449d2c3eba1258e46832afb6db62daf50ed7ecb8a53d06437d5", 258970),
        ("c32e336c9ffb47512e8f3c0438aba00bb0d3e59ae001ef76282095bfe51d4a56", 765378),
        ("c2822dc45278a3f80cb98b65b31082a963cb398c3aa0d6b383ae09d14c2d5075", 2225490),
        ("189dc89e322080f298b056ed23d948e6850dfebb9c4ba53887763e3a8501ff16", 1952537),
        ("4093a8bb5e86d653a59fdde3b69f1075f290e0bf2f2d0370382376ccf43d76ab", 247120),
    ),
    _student("rn50", "voc",
             "EeNt1u1qRX1GjhoCMIpxrUQBpQImYcYj31jeu3ID2Ry8BQ?e=QkS9ZA",
             "r50_deeplabv2_r101-d8_512x512_2k_voc12aug_20"),
    _student("rn50x16", "voc",
             "EQ6RN438ldlFq387xw4CpjUB78XydfMzsNVI9xp5B4CX6Q?e=OBmIWa",
             "r50x16_deeplabv2_r101-d8_512x512_2k_voc12aug_20"),
    _student("rn50", "context",
             "EYEJP_N9TxRDpM-vm6LPKXYBBI4CYVgfoAw13Pvyce6K4A?e=I7Trta",
             "r50_deeplabv2_r101-d8_480x480_4k_pascal_context_59"),
    _student("rn50x16", "context",
             "ETLllAVo0r1MvXAg-tutcWMB63cIqnFInoZIyzsZla0pgA?e=A7v9TZ",
             "r50x16_deeplabv2_r101-d8_480x480_4k_pascal_context_59"),
    _student("vitb16", "context",
             "EQziC4NIOfBEjuPIWdLA5H8BDmmJEIP7KGgRKMVdTjNCGg?e=HuI9WQ",
             "vit16_deeplabv2_r101-d8_480x480_4k_pascal_context_59"),
    _student("rn50", "cocostuff",
             "EQNexm9L3HRMs-LY9oTn9owBUnQtyXrOa1WzCd0UhVtD6Q?e=SP0KT7",
             "r50_deeplabv2_r101-d8_512x512_8k_coco-stuff164k"),
    _student("rn50x16", "cocostuff",
             "EXaSNB5f5JBCqSL8-yYIzbcBdjTFQ1bxHWVMCUlVQd2PZw?e=cfYb6Q",
             "r50x16_deeplabv2_r101-d8_512x512_8k_coco-stuff164k"),
    _student("vitb16", "cocostuff",
             "EZSrnPaNFwNNqpECYCkgpg4BEjN782MUD7ZUEPXFWSTEXA?e=mOaseS",
             "vit16_deeplabv2_r101-d8_512x512_8k_coco-stuff164k"),
    # Page and licence: the README of isl-org/lang-seg.
    Entry("lseg", "lseg_demo_e200",
          OfficialFile("https://drive.google.com/file/d/1FTuHY1xPUkM-5gaDtMfgCl3D0gR89WV7/view",
                       "demo_e200.ckpt", None, by_hand=True),
          "none stated; the code is mit", "LSeg on ViT-L/16, the model of its demo", None),
    _catseg("base", "ViT-B/16"),
    _catseg("large", "ViT-L/14 at 336 pixels"),
    _simseg("s", "ViT-S/16"),
    _simseg("b", "ViT-B/16"),
    # Address: the README of kahnchana/clippy, who did this training; the paper's is not public.
    Entry("clippy", "clippy_5k",
          OfficialFile("https://github.com/kahnchana/clippy/releases/download/v1.0/clippy_5k.pt",
                       "clippy_5k.pt", None),
          "none stated; the code is gpl-3.0", "CLIPpy ViT-B/16, unofficial, trained on CC12M", None,
          ("tokenizer/sentence_t5_base",)),
    _hub("tokenizer", "bert_base_uncased", "google-bert/bert-base-uncased", _UNREAD,
         "the words of SimSeg's and OVSegmentor's text towers, no weights"),
    _hub("tokenizer", "sentence_t5_base", "sentence-transformers/sentence-t5-base", _UNREAD,
         "the words of CLIPpy's text tower, no weights"),
    # Licence: the README of timojl/clipseg, whose own does not hold for the weights.
    _hub("clipseg", "clipseg_rd64_refined", "CIDAS/clipseg-rd64-refined", _UNREAD,
         "CLIPSeg on CLIP ViT-B/16, the weights for fine-grained predictions"),
    _hub("grounding_dino", "grounding_dino_tiny", "IDEA-Research/grounding-dino-tiny", _UNREAD,
         "Grounding DINO on Swin-T"),
    # Licence: of microsoft/Florence-2-*, whose weights these are, converted for transformers.
    _hub("florence2", "florence2_base", "florence-community/Florence-2-base", "mit",
         "Florence-2 at 768 pixels, the smaller"),
    _hub("florence2", "florence2_large", "florence-community/Florence-2-large", "mit",
         "Florence-2 at 768 pixels"),
    _hub("owlv2", "owlv2_base_patch16_ensemble", "google/owlv2-base-patch16-ensemble", _UNREAD,
         "OWLv2 ViT-B/16 at 960 pixels"),
    _hub("panoptic", "eomt_large_coco_panoptic", "tue-mps/coco_panoptic_eomt_large_640", "mit",
         "EoMT ViT-L at 640 pixels, trained on COCO's panoptic masks"),
    _hub("panoptic", "mask2former_swin_large_coco_panoptic",
         "facebook/mask2former-swin-large-coco-panoptic", _UNREAD,
         "Mask2Former Swin-L, trained on COCO's panoptic masks"),
    _hub("seggpt", "seggpt_vit_large", "BAAI/seggpt-vit-large", "apache-2.0",
         "SegGPT ViT-L, input 896x448"),
    # Address: Painter/README.md of baaivision/Painter; licence: of its code.
    Entry("painter", "painter_vit_large",
          OfficialFile("https://huggingface.co/BAAI/Painter/resolve/main/painter_vit_large.pth",
                       "painter_vit_large.pth", None),
          "mit", "Painter ViT-L, input 896x448", None),
    _hub("stable_diffusion", "stable_diffusion_v1_5",
         "stable-diffusion-v1-5/stable-diffusion-v1-5", _UNREAD,
         "Stable Diffusion 1.5: U-Net, VAE, text encoder"),
    _hub("stable_diffusion", "stable_diffusion_v1_4", "CompVis/stable-diffusion-v1-4",
         "creativeml-openrail-m", "Stable Diffusion 1.4: U-Net, VAE, text encoder",
         3440 + 335 + 492),
    _sam("sam_vit_b", "sam_vit_b_01ec64.pth",
         "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
         "Segment Anything ViT-B", 375_042_383),
    _sam("sam_vit_l", "sam_vit_l_0b3195.pth",
         "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
         "Segment Anything ViT-L", 1_249_524_607),
    _sam("sam_vit_h", "sam_vit_h_4b8939.pth",
         "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
         "Segment Anything ViT-H", 2_564_550_879),
    # Licence and ids: the README of facebookresearch/sam2. Each has its memory for videos beside.
    _hub("sam", "sam2.1_hiera_tiny", "facebook/sam2.1-hiera-tiny", "apache-2.0",
         "SAM 2.1 on Hiera-T"),
    _hub("sam", "sam2.1_hiera_small", "facebook/sam2.1-hiera-small", "apache-2.0",
         "SAM 2.1 on Hiera-S"),
    _hub("sam", "sam2.1_hiera_base_plus", "facebook/sam2.1-hiera-base-plus", "apache-2.0",
         "SAM 2.1 on Hiera-B+"),
    _hub("sam", "sam2.1_hiera_large", "facebook/sam2.1-hiera-large", "apache-2.0",
         "SAM 2.1 on Hiera-L"),
    _gated("sam3", "sam3", "facebook/sam3", "SAM License", "SAM 3, asked for by noun phrases"),
    Entry("saliency", "found_dino_vits8",
          OfficialFile("https://raw.githubusercontent.com/valeoai/FOUND/"
                       "1ad22bacf1a6854faff1b5d4be300d54cad6f277/data/weights/decoder_weights.pt",
                       "found_decoder_weights_1ad22bac.pt",
                       "47ff2a4af3dbc6c80cb832cc81f8ed8ae81809e52576d0de5f9c754cf46ef9b5"),
          "apache-2.0", "FOUND: saliency head on the keys of DINO ViT-S/8", 2689,
          ("dino/dino_vits8",)),
)  # fmt: skip


_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def size_in_words(size: int | None) -> str:
    """Bytes as they are told wherever weights are."""
    return "size not stated" if size is None else decimal(size)


def look_up(role: str, name: str) -> Entry:
    """What is known of a checkpoint.

    Args:
        role: of an entry or of :data:`LAYOUTS`.
        name: of an entry, or a hub id where the role takes one, of which only the hub knows more;
            of a CLIP any architecture and tag of open_clip. What lies on the hub may have
            ``@revision`` behind its name.

    Raises:
        UsageError: there is no such entry, and it is no hub id either.
    """
    known = {entry.name: entry for entry in ENTRIES if entry.role == role}
    if name in known:
        return known[name]
    base, at, revision = name.partition("@")
    if at and base in known and isinstance(pinned := known[base].source, Repository):
        return replace(known[base], source=replace(pinned, id=f"{pinned.id}@{revision}"))
    if role == "clip" and " " in base:
        from ovbench.models.weights.open_clip_tags import place_of

        place, files = place_of(*base.split(" ", 1))
        needs = (tuple((file,) for file in files),)
        return Entry(role, name, Repository(f"{place}{at}{revision}", needs), "", "", None)
    takes_ids = role in LAYOUTS
    if takes_ids and _HUB_ID.fullmatch(base):
        return Entry(role, name, Repository(name, LAYOUTS[role]), "", "", None)
    ids = ", and any hub id owner/name[@revision]" if takes_ids else ""
    if base[:1] in {"/", ".", "~"}:
        raise UsageError(f"{name!r} is a path; a {role} checkpoint is {', '.join(known)}{ids}")
    raise UsageError(f"no {role} checkpoint {name!r}; {nearest(name, known)}{ids}")
