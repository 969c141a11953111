"""The same in PyTorch: networks, a training loop, and a step by double backward.

Source: He et al., "Deep residual learning", CVPR 2016, for ResNet-18; chapter 8, *ResNet-18*.
"""

import importlib.util
import statistics
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise
from typing import Any

from .machine import cores
from .problems import RATE, TURN, Problem, images_of
from .workers import Competitor, Job, paced, take_turns

COMPILED = "PyTorch, compiled"


def missing(gpu: bool) -> str | None:
    """Why PyTorch is not compared; None where it is."""
    if importlib.util.find_spec("torch") is None:
        return "PyTorch, which is not installed (the extra `bench` has it)"
    if gpu and not _sees_gpu():
        return "PyTorch, which sees no GPU: install a build of it for CUDA"
    return None


@cache
def _sees_gpu() -> bool:
    # In a process of its own: this one imports none of the libraries.
    asked = "import torch; raise SystemExit(not torch.cuda.is_available())"
    return subprocess.run([sys.executable, "-c", asked], capture_output=True).returncode == 0


def competitor(
    name: str, make: Callable[..., Job], args: tuple[Any, ...], gpu: bool, num: int
) -> Competitor:
    """`make(*args, num)` on the GPU or with so many threads, which its name tells."""
    env = {"OMP_NUM_THREADS": str(num)}
    if gpu:
        return Competitor(name, make, (*args, num), env)
    name = f"{name}, {num} thread{'s' * (num > 1)}"
    return Competitor(name, make, (*args, num), env | {"CUDA_VISIBLE_DEVICES": ""})


def best_threads(racer: Callable[[int], Competitor]) -> int:
    """The number of threads with which a competitor does best, tried for a moment."""
    tried = {n: racer(n) for n in sorted({1, 2, cores()}) if n <= cores()}
    times = take_turns(list(tried.values()), 3).times
    return min(tried, key=lambda n: statistics.median(times[tried[n].name]))


def mlp(width: int, inputs: int) -> Any:
    """The MLP of the paper, of images that are flat."""
    from torch import nn

    sizes = [inputs, *[width] * 5]
    hidden = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(width, 10))


def resnet18(width: int, channels: int) -> Any:
    """ResNet-18 as in igrlib, its parts named alike, of images (n, channels, side, side).

    Differs from it: images of even sides are padded on both sides alike, as in torchvision.
    """
    import torch
    from torch import nn

    def conv(inputs: int, outputs: int, size: int, stride: int) -> Any:
        return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)

    class Block(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.conv0, self.norm0 = conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
            self.conv1, self.norm1 = conv(outputs, outputs, 3, 1), nn.BatchNorm2d(outputs)
            self.projects = stride != 1
            if self.projects:
                self.shortcut = conv(inputs, outputs, 1, stride)
                self.shortcut_norm = nn.BatchNorm2d(outputs)

        def forward(self, x: Any) -> Any:
            shortcut = self.shortcut_norm(self.shortcut(x)) if self.projects else x
            x = torch.relu(self.norm0(self.conv0(x)))
            return torch.relu(self.norm1(self.conv1(x)) + shortcut)

    parts = OrderedDict(
        stem=conv(channels, width, 7, 2),
        stem_norm=nn.BatchNorm2d(width),
        relu=nn.ReLU(),
        pool=nn.MaxPool2d(3, 2, 1),
    )
    inputs = width
    for group, (times, stride) in enumerate(((1, 1), (2, 2), (4, 2), (8, 2))):
        for place in range(2):
            outputs = times * width
            block = Block(inputs, outputs, 1 if place else stride)
            parts[f"group{group}_block{place}"], inputs = block, outputs
    parts |= {"mean": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten()}
    return nn.Sequential(parts | {"logits": nn.Linear(inputs, 10)})


def start(problem: Problem, num_images: int, threads: int) -> tuple[Any, Any, Any]:
    """The network of a problem in training mode, its images and labels, on the GPU that it sees."""
    import torch

    torch.set_num_threads(threads)
    torch.backends.cudnn.allow_tf32 = False  # Full float32, as its products are.
    torch.set_default_device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    images, labels = images_of(problem, num_images)
    # Floats once and for all, where the trainers convert bytes at every step: PyTorch's best.
    data = torch.tensor(images).float() / 255
    wanted = torch.tensor(labels).long()
    if problem.network == "mlp":
        return mlp(problem.width, data[0].numel()), data.flatten(1), wanted
    # So is the order in memory: with the channels last a step is about a tenth faster.
    net = resnet18(problem.width, problem.channels).to(memory_format=torch.channels_last)
    return net, data.permute(0, 3, 1, 2), wanted


def loop(problem: Problem, num_images: int, compiled: bool, threads: int) -> Job:
    """An epoch of one model, its images floats in memory beforehand; a unit of work is a step.

    compiled: by `torch.compile`, on a GPU with CUDA graphs.
    """
    import torch

    net, data, wanted = start(problem, num_images, threads)
    loss = torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)
    steps, update = num_images // problem.batch_size, optimizer.step
    if compiled:
        net = torch.compile(net, mode="reduce-overhead" if data.is_cuda else "default")
        update = torch.compile(update)

    def train(num_steps: int) -> None:
        order = torch.randperm(num_images)
        for at in order.split(problem.batch_size)[:num_steps]:
            optimizer.zero_grad()
            loss(net(data[at]), wanted[at]).backward()
            update()
        if data.is_cuda:
            torch.cuda.synchronize()

    train(min(steps, 50))
    return Job(partial(train, steps), steps)


def step(problem: Problem, mu: float, threads: int) -> Job:
    """A step on E + μ‖∇E‖² of one batch by double backward; on E alone where `mu` is 0."""
    import torch

    net, data, wanted = start(problem, problem.batch_size, threads)
    optimizer = torch.optim.SGD(net.parameters(), lr=RATE)

    def train(num_steps: int) -> None:
        for _ in range(num_steps):
            descend(net, data, wanted, mu, optimizer)
        if data.is_cuda:
            torch.cuda.synchronize()

    return paced(train, TURN)


def descend(net: Any, data: Any, wanted: Any, mu: float, optimizer: Any) -> None:
    """One step of the optimizer on E + μ‖∇E‖²."""
    import torch

    optimizer.zero_grad()
    value = torch.nn.functional.cross_entropy(net(data), wanted)
    if mu:
        gradient = torch.autograd.grad(value, list(net.parameters()), create_graph=True)
        value = value + mu * sum(g.square().sum() for g in gradient)
    value.backward()
    optimizer.step()
