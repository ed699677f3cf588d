"""The tracker's network in plain PyTorch, for one frame: what a fair peer runs on the same card.

It does the arithmetic of `relo_jax.tracking.step`, and no more: the template is encoded once a video, the temporal
tokens of the last frame are only attended to, the last block computes the search tokens alone, and the box at the
chosen cell alone. Attention is PyTorch's own. `load` copies the weights of a JAX model, `apart` compares the two.
"""

import functools

import jax
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from relo_jax.config.model_config import STRIDE, ModelConfig
from relo_jax.model import RELO, init_variables
from relo_jax.model.fast_itpn import IMAGE_MEAN, IMAGE_STD
from relo_jax.tracking import step
from relo_jax.tracking.step import hann_window

_REACH = 4  # cells around the action that its box depends on
layer_norm = functools.partial(nn.LayerNorm, eps=1e-6)


class ConvBlock(nn.Module):
    """A stem block, channels last."""

    def __init__(self, width: int):
        super().__init__()
        self.norm, self.fc1 = layer_norm(width), nn.Linear(width, 3 * width)
        self.ffn_norm, self.fc2 = layer_norm(3 * width), nn.Linear(3 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, H, W, C]` -> the same shape."""
        return x + self.fc2(self.ffn_norm(F.gelu(self.fc1(self.norm(x)))))


class PatchMerge(nn.Module):
    """LayerNorm, then a 2 x 2 convolution of stride 2."""

    def __init__(self, width: int):
        super().__init__()
        self.norm, self.reduction = layer_norm(width), nn.Conv2d(width, 2 * width, 2, 2)

    def forward(self, x: Tensor) -> Tensor:
        """`[B, H, W, C]` -> `[B, H / 2, W / 2, 2 C]`."""
        return self.reduction(self.norm(x).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Block(nn.Module):
    """A main block: attention over the frame's tokens and the last frame's, then SwiGLU."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2, self.norm = layer_norm(width), layer_norm(width), layer_norm(3 * width)
        self.q, self.k, self.v = nn.Linear(width, width), nn.Linear(width, width, bias=False), nn.Linear(width, width)
        self.proj, self.w1, self.w2 = nn.Linear(width, width), nn.Linear(width, 3 * width), nn.Linear(width, 3 * width)
        self.w3 = nn.Linear(3 * width, width)
        self.gamma1, self.gamma2 = (nn.Parameter(torch.full((width,), 0.1)) for _ in range(2))

    def forward(self, x: Tensor, memory: Tensor, kept: int) -> Tensor:
        """Tokens `[B, M, D]`, the last frame's `[B, n, D]` -> the first `kept` tokens."""
        context = self.norm1(torch.cat([x, memory], 1))
        split = lambda y: y.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        x = x[:, :kept]
        attended = F.scaled_dot_product_attention(
            split(self.q(context[:, :kept])), split(self.k(context)), split(self.v(context))
        )
        x = x + self.gamma1 * self.proj(attended.transpose(1, 2).flatten(2))
        y = self.norm2(x)
        return x + self.gamma2 * self.w3(self.norm(F.silu(self.w1(y)) * self.w2(y)))


class Tower(nn.Module):
    """Four 3 x 3 convolutions with batch norm, and a 1 x 1 convolution in float32."""

    def __init__(self, width: int, head_width: int, channels: int):
        super().__init__()
        widths = [width, *(head_width >> i for i in range(4))]
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 3) for a, b in zip(widths, widths[1:], strict=False))
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for b in widths[1:])
        self.out = nn.Conv2d(widths[-1], channels, 1)

    def forward(self, x: Tensor, inside: Tensor | None = None) -> Tensor:
        """The map of `[B, D, H, W]`, or the middle of 9 x 9 cells of which those `inside` lie on the map."""
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.relu(norm(conv(x if inside is not None else F.pad(x, (1, 1, 1, 1)))))
            if inside is not None:
                inside = inside[..., 1:-1, 1:-1]
                x = x * inside
        return self.out(x.float())


class Frame(nn.Module):
    """One frame of B videos."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        width, n, grid, (first, second) = config.width, config.temporal_tokens, config.grid, config.stem_blocks
        self.config = config
        self.patch_embed = nn.Conv2d(3, width // 4, 4, 4)
        self.stage1, self.merge1 = nn.Sequential(*(ConvBlock(width // 4) for _ in range(first))), PatchMerge(width // 4)
        self.stage2, self.merge2 = (
            nn.Sequential(*(ConvBlock(width // 2) for _ in range(second))), PatchMerge(width // 2),
        )  # fmt: skip
        self.search_rows = nn.Parameter(0.02 * torch.randn(grid**2, width))  # position and type
        self.temporal_rows = nn.Parameter(0.02 * torch.randn(n, width))
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.depth))
        self.fc_norm = layer_norm(width)
        tower = functools.partial(Tower, width, config.head_width)
        self.policy, self.size, self.offset = tower(1), tower(2), tower(2)
        self.register_buffer("mean", 255 * torch.tensor(IMAGE_MEAN))
        self.register_buffer("std", 255 * torch.tensor(IMAGE_STD))
        self.register_buffer("window", torch.from_numpy(hann_window(grid, 1.0)))

    def prepared(self, dtype: torch.dtype, device: torch.device) -> "Frame":
        """Itself on a device, everything in a dtype but the pixels' statistics and what is float32 by design."""
        self.to(device=device, dtype=dtype, memory_format=torch.channels_last)
        for part in (self.policy.out, self.size.out, self.offset.out):
            part.float()
        self.mean, self.std, self.window = self.mean.float(), self.std.float(), self.window.float()
        return self

    def forward(self, templates: Tensor, search: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The box of the greedy action.

        Args:
          templates: template tokens `[B, M, D]`.
          search: uint8 `[B, S, S, 3]`.
          tokens: the last frame's, that entered each block, `[L, B, n, D]`.

        Returns:
          box_cxcywh relative to the crop `[B, 4]`, the response under the window `[B]`, the logits `[B, N]`, and this
          frame's tokens `[L, B, n, D]`.
        """
        config, n = self.config, self.config.temporal_tokens
        pixels = ((search - self.mean) / self.std).to(templates.dtype).permute(0, 3, 1, 2)
        x = self.merge1(self.stage1(self.patch_embed(pixels).permute(0, 2, 3, 1)))
        x = self.merge2(self.stage2(x)).flatten(1, 2) + self.search_rows
        x = torch.cat([x, templates, self.temporal_rows.expand(len(x), -1, -1)], 1)
        entered = []
        for index, block in enumerate(self.blocks):
            entered.append(x[:, -n:])
            kept = config.grid**2 if index == config.depth - 1 else x.shape[1]
            x = block(x, tokens[index], kept)
        features = self.fc_norm(x).transpose(1, 2).unflatten(-1, (config.grid, config.grid))
        logits = self.policy(features).flatten(1)
        response, action = (self.window * logits).max(-1)
        return self._box(features, action), response, logits, torch.stack(entered)

    def _box(self, features: Tensor, action: Tensor) -> Tensor:
        grid, near = self.config.grid, torch.arange(2 * _REACH + 1, device=action.device)
        row, column = action // grid, action % grid
        rows, columns = row[:, None] + near, column[:, None] + near  # in the map with a margin
        batch = torch.arange(len(action), device=action.device)[:, None, None]
        cells = F.pad(features, [_REACH] * 4)[batch, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        on_map = lambda index: (index >= _REACH) & (index < grid + _REACH)
        inside = (on_map(rows)[:, :, None] & on_map(columns)[:, None, :])[:, None]
        size = self.size(cells, inside)[..., 0, 0].sigmoid().clamp(1e-4, 1 - 1e-4)
        center = torch.stack([column, row], 1) + self.offset(cells, inside)[..., 0, 0]
        return torch.cat([center / grid, size], 1)


def random_inputs(config: ModelConfig, videos: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
    """Arguments of `Frame.forward`."""
    count = config.templates * (config.template_size // STRIDE) ** 2
    normal = lambda *shape: torch.randn(*shape, config.width, dtype=dtype, device=device)
    search = torch.randint(0, 256, (videos, config.search_size, config.search_size, 3), dtype=torch.uint8)
    tokens = normal(config.depth, videos, config.temporal_tokens)
    return normal(videos, count), search.to(device), tokens


def flops(module: Frame) -> int:
    """FLOPs of products and convolutions for one frame; the module is on the CPU, in float32."""
    inputs = random_inputs(module.config, 1, torch.float32, torch.device("cpu"))
    # Attention as products, so that all of it is counted.
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        module(*inputs)
    return counter.get_total_flops()


def load(module: Frame, variables: dict) -> None:
    """Copies the variables of a JAX model into the module."""
    params, stats = jax.tree.map(np.asarray, variables["params"]), jax.tree.map(np.asarray, variables["batch_stats"])
    encoder = params["encoder"]

    def put(target: Tensor, values: np.ndarray) -> None:
        target.data.copy_(torch.from_numpy(np.array(values)))

    def dense(layer: nn.Module, p: dict, bias: np.ndarray | None = None) -> None:
        kernel = p["kernel"]
        put(layer.weight, kernel.T if kernel.ndim == 2 else kernel.transpose(3, 2, 0, 1))
        if layer.bias is not None:
            put(layer.bias, p["bias"] if bias is None else bias)

    def norm(layer: nn.Module, p: dict) -> None:
        put(layer.weight, p["scale"])
        put(layer.bias, p["bias"])

    dense(module.patch_embed, encoder["patch_embed"])
    for k, stage, merge in ((1, module.stage1, module.merge1), (2, module.stage2, module.merge2)):
        for index, block in enumerate(stage):
            p = encoder[f"stage{k}_{index}"]
            dense(block.fc1, p["fc1"])
            dense(block.fc2, p["fc2"])
            norm(block.norm, p["norm"])
            norm(block.ffn_norm, p["ffn_norm"])
        norm(merge.norm, encoder[f"merge{k}"]["norm"])
        dense(merge.reduction, encoder[f"merge{k}"]["reduction"])
    put(module.search_rows, encoder["pos_embed"][: module.config.grid**2] + encoder["search_token"])
    put(module.temporal_rows, encoder["ttokens"] + encoder["pos_embed_ttoken"])
    norm(module.fc_norm, encoder["fc_norm"])
    for index, block in enumerate(module.blocks):
        p = jax.tree.map(lambda x, index=index: x[index], encoder["blocks"])
        attention, mlp = p["attn"], p["mlp"]
        dense(block.q, attention["q_proj"], attention["q_bias"])
        dense(block.k, attention["k_proj"])
        dense(block.v, attention["v_proj"], attention["v_bias"])
        dense(block.proj, attention["proj"])
        for name in ("w1", "w2", "w3"):
            dense(getattr(block, name), mlp[name])
        norm(block.norm1, p["norm1"])
        norm(block.norm2, p["norm2"])
        norm(block.norm, mlp["norm"])
        put(block.gamma1, p["gamma1"])
        put(block.gamma2, p["gamma2"])
    for name, p, s in (
        ("policy", params["policy"], stats["policy"]),
        ("size", params["regression"]["size"], stats["regression"]["size"]),
        ("offset", params["regression"]["offset"], stats["regression"]["offset"]),
    ):
        tower = getattr(module, name)
        for index, (conv, batch_norm) in enumerate(zip(tower.convs, tower.norms, strict=True)):
            dense(conv, p[f"conv{index}"])
            norm(batch_norm, p[f"bn{index}"])
            put(batch_norm.running_mean, s[f"bn{index}"]["mean"])
            put(batch_norm.running_var, s[f"bn{index}"]["var"])
        dense(tower.out, p["out"])


def apart(model: RELO, frames: int = 3) -> dict[str, float]:
    """Largest differences from the JAX network over some frames in float32: boxes (of the crop), logits, tokens."""
    config, rng = model.config, np.random.default_rng(0)
    # Without zeros and ones: a bias that was forgotten would not be seen otherwise.
    noise = lambda x: np.asarray(x) + 0.02 * rng.uniform(0.5, 1, x.shape).astype(np.float32)
    variables = jax.tree.map(noise, init_variables(model, jax.random.key(0)))
    module = Frame(config).eval()
    load(module, variables)
    s, t = config.search_size, config.template_size
    template, box = rng.integers(0, 256, (1, t, t, 3), np.uint8), np.float32([[0.3, 0.35, 0.4, 0.3]])
    state = jax.jit(lambda v: step.init_state(model, v, template, box, 1.0))(variables)
    ours = jax.jit(lambda v, state, crop: step.step(model, v, state, crop))
    worst = {"box": 0.0, "response": 0.0, "tokens": 0.0}
    for index in range(frames):
        crop = rng.integers(0, 256, (1, s, s, 3), np.uint8)
        before = state
        state, result = ours(variables, state, crop)
        if index == 0:
            continue  # the first frame attends to its own tokens: the peer is for those after it
        inputs = (np.array(before.templates), crop, np.array(before.tokens))
        with torch.inference_mode():
            found, response, _, tokens = module(*map(torch.from_numpy, inputs))
        pairs = {"box": (found, result.box_cxcywh_norm), "response": (response, result.response)}
        for name, (a, b) in (pairs | {"tokens": (tokens, state.tokens)}).items():
            worst[name] = max(worst[name], float(np.abs(a.numpy() - np.asarray(b)).max()))
    return {name: float(f"{value:.2g}") for name, value in worst.items()}
