"""How clips are drawn and varied, and how hard procedural sequences are: the fields of `config.data` with defaults."""

from dataclasses import asdict, dataclass, field, fields

COCO_SMALLEST_SIDE = 50  # pixels


@dataclass(frozen=True)
class ClipOptions:
    """Which frames and crops a clip has, and how they vary. Its repr is part of a training run's data digest."""

    templates: int = 2  # K
    frames: int = 2  # T, search frames
    template_size: int = 128  # pixels
    search_size: int = 256  # pixels
    max_gap: int = 400  # frames between a clip's base frame and any other
    scale_jitter: float = 0.5  # search crop: size * exp(N(0, s^2)) a side
    shift_jitter: float = 3.5  # search crop: centre + sqrt(w h) * s * (U - 0.5) an axis
    grey: float = 0.05  # probability, joint over the clip
    flip: float = 0.5  # probability of a horizontal flip, joint over the clip
    frame_flip: float = 0.5  # probability of another flip, each frame by itself
    brightness: float = 0.2  # factor U(1 - b, 1 + b), each frame
    reduced_decode: bool = True  # decode a JPEG at 1/2, 1/4 or 1/8 where its crops are shrunk as much; release: False
    closed_loop: bool = field(default=False, repr=False)  # not in the digest: it changes crops, not frames


# These follow from the model and the stage; the others are fields of `config.data`.
_DERIVED = ("templates", "frames", "template_size", "search_size", "closed_loop")
CLIP_FIELDS = {f.name: f.default for f in fields(ClipOptions) if f.name not in _DERIVED}


@dataclass(frozen=True)
class Options:
    """How hard procedural and photograph sequences are.

    Sizes are in pixels of a width x height frame, speeds in target sizes a frame.
    """

    width: int = 448
    height: int = 336
    num_frames: int = 120
    distractors: int = 3  # at most
    clutter: int = 6  # at most
    occlusion: float = 0.5  # probability of something to pass behind
    smallest: float = 20.0  # side of the target at the start
    largest: float = 64.0
    elongation: float = 0.0  # spread of log(w / h) of targets at the start, on top of that of their silhouettes
    slowest: float = 0.03
    fastest: float = 0.22
    jump: float = 0.03  # largest probability a frame of a sudden displacement of 0.3 to 0.8 sizes
    bending: float = 6.0  # largest bend of objects, in pixels of a 96 px patch (half of the objects are rigid)
    limbs: int = 2  # of the target, at most
    articulated: float = 0.35  # probability that the target may have limbs, which swing
    turning: float = 0.0  # probability that target or distractor turns about its upright axis
    shadow: float = 0.3  # probability of a shadow or a patch of light
    switch: float = 0.0  # probability that the light comes on or goes out, at once or within a second
    lighting: float = 0.0  # probability of light and shadows that move over the target, see data/synthetic/lighting.py
    night: float = 0.0  # probability of little light: dark, pale, noisy
    spray: float = 0.0  # probability of spray, smoke or dust in front of the target, see data/synthetic/spray.py
    sensor_noise: float = 0.15  # largest strength of the camera's noise
    blur: float = 1.5  # largest blur of the camera in pixels (three quarters of the sequences have none)
    grade: float = 0.5  # probability that the camera's colours are paler or tinted
    compression: float = 0.15  # probability of visible JPEG compression
    bank_size: int = 256  # textures of a split
    exposure: float = 0.0  # largest share of the time between two frames in which moving things smear (half have none)
    pixel: float = 0.0  # largest side of the camera's pixels in those of the frame, half have 1 (0: crops are as drawn)
    absence: float = 0.0  # probability that the target is away for a while, see relo_jax/data/synthetic/absence.py


PROCEDURAL_FIELDS = asdict(Options())
