"""What `train_generators.py` trains, and the steps of each kind. Rates, labels and batches are those of the published runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from generator_data import Images, augmented, chosen
from generator_nets import PIXELS, convolutional, dense_classifier, discriminator, generator, judge
from resumable import Training, adam, draw_seed, ordered_batch
from torch import Tensor, nn
from torch.nn import functional

REAL, FAKE = 0.9, 0.0
LATENT = 10
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Gan:
    """A generator of one class. part: of the class's images, of generator_data.PARTS.  sizes, judged: of generator and discriminator."""

    what: str
    data: str
    label: int
    part: str = "all"
    epochs: int = 100
    batch: int = 128
    rate: float = 2e-4
    first: float = 0.5      # Adam's beta 1
    sizes: tuple[int, ...] = (LATENT, 256, 512, 1024, PIXELS)
    judged: tuple[int, ...] = (PIXELS, 1024, 512, 256, 1)
    dropout: float = 0.3

    def training(self, name: str, images: Images, seed: int, device: torch.device = _CPU) -> Training:
        """From the data set's training images."""
        data = chosen(images, self.label, self.part, draw_seed(seed, name, "images")).to(device)
        torch.manual_seed(draw_seed(seed, name, "weights"))
        draws, judges = generator(self.sizes).to(device), discriminator(self.judged, self.dropout).to(device)
        for_draws, for_judges = (adam([net], self.rate, self.first) for net in (draws, judges))
        goal = functional.binary_cross_entropy_with_logits
        wanted = torch.cat([torch.full((self.batch, 1), REAL), torch.full((self.batch, 1), FAKE)]).to(device)
        latent = self.sizes[0]

        def step(number: int) -> Mapping[str, Tensor]:
            real = data.signed(ordered_batch(len(data), self.batch, number, seed, name).to(device))
            with torch.no_grad():
                fake = draws(torch.randn(self.batch, latent, device=device))
            judging = goal(judges(torch.cat([real, fake])), wanted)
            _step(for_judges, judging)
            judges.requires_grad_(False)
            drawing = goal(judges(draws(torch.randn(self.batch, latent, device=device))), torch.ones(self.batch, 1, device=device))
            _step(for_draws, drawing)
            judges.requires_grad_(True)
            return {"discriminator": judging.detach(), "generator": drawing.detach()}

        bound = _bound(self, name, seed, data)
        return Training(name, seed, {"net": draws, "discriminator": judges}, {"net": for_draws, "discriminator": for_judges}, step,
                        self.epochs * (len(data) // self.batch), bound)


@dataclass(frozen=True)
class Classifier:
    """A classifier of ten classes from images in [0, 1]."""

    what: str
    data: str
    build: Callable[[], nn.Sequential]
    augmented: bool = False
    epochs: int = 3
    batch: int = 32
    rate: float = 1e-3

    def training(self, name: str, images: Images, seed: int, device: torch.device = _CPU) -> Training:
        """From the data set's training images."""
        data = (augmented(images, draw_seed(seed, name, "images")) if self.augmented else images).to(device)
        torch.manual_seed(draw_seed(seed, name, "weights"))
        net = self.build().to(device)
        optimiser = adam([net], self.rate, 0.9)

        def step(number: int) -> Mapping[str, Tensor]:
            index = ordered_batch(len(data), self.batch, number, seed, name).to(device)
            loss = functional.cross_entropy(net(data.unit(index)), data.labels[index])
            _step(optimiser, loss)
            return {"loss": loss.detach()}

        return Training(name, seed, {"net": net}, {"net": optimiser}, step, self.epochs * (len(data) // self.batch),
                        _bound(self, name, seed, data))


def _step(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad()
    torch.autograd.backward(loss)
    optimiser.step()


def _bound(recipe: Gan | Classifier, name: str, seed: int, data: Images) -> dict[str, Any]:
    said = {key: value for key, value in asdict(recipe).items() if not callable(value) and key != "what"}
    machine = {"threads": torch.get_num_threads(), "device": data.values.device.type, "torch": torch.__version__}
    return {"name": name, "seed": seed, "images": data.sha256, **machine, **said}


_FORM = "10-256-512-1024-784, LeakyReLU(0.2), tanh"
_SMALL = "four 3x3 convolutions (32, 32, 64, 64), two hidden layers of 200, ReLU"
JUDGES = {
    "judge-mnist": Classifier("judge of MNIST generators", "mnist", judge, batch=128),
    "judge-fashion_mnist": Classifier("judge of Fashion-MNIST generators", "fashion_mnist", judge, epochs=5, batch=128),
}
RECIPES: dict[str, Gan | Classifier] = {
    "G8": Gan(f"generator of the digit 8, {_FORM}", "mnist", 8),
    "C-small": Classifier(f"classifier of MNIST, {_SMALL}", "mnist", lambda: convolutional((32, 64), 200, 0.1)),
    "G3": Gan(f"generator of the digit 3, {_FORM}", "mnist", 3),
    "C-small-augmented": Classifier(f"classifier of MNIST and its turned, sheared and shifted images, {_SMALL}", "mnist",
                                    lambda: convolutional((32, 64), 200, 0.1), augmented=True),
    "G8-augmented": Gan(f"generator of the digit 8, from turned, sheared and shifted images too, {_FORM}", "mnist", 8, "augmented", 25),
    "F9": Gan(f"generator of ankle boots of Fashion-MNIST, {_FORM}", "fashion_mnist", 9),
    "G8-first-half": Gan(f"generator of the digit 8 from the first half of its images, {_FORM}", "mnist", 8, "first-half"),
    "G8-second-half": Gan(f"generator of the digit 8 from the second half of its images, {_FORM}", "mnist", 8, "second-half"),
    **JUDGES,
}
BUNDLED: dict[str, Gan | Classifier] = {
    # A weaker discriminator and larger steps: against the published one so small a generator stays grainy.
    **{f"digits_generator_{label}": Gan(f"generator of the digit {label}, 10-64-128-784, LeakyReLU(0.2), tanh", "mnist", label,
                                        rate=1e-3, sizes=(LATENT, 64, 128, PIXELS), judged=(PIXELS, 128, 1), dropout=0.5)
       for label in (3, 8)},
    "digits_classifier": Classifier("classifier of MNIST, 784-50-50-10, ReLU", "mnist", lambda: dense_classifier((PIXELS, 50, 50, 10)),
                                    epochs=10, batch=128),
}


def judge_of(recipe: Gan) -> tuple[str, Classifier]:
    """The name and recipe of the classifier that says what this generator draws."""
    name = f"judge-{recipe.data}"
    return name, JUDGES[name]
