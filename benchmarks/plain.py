"""What one would write first, torch and torchvision as they come: `bench` measures against it."""

import os

import torch
import torch.nn.functional as F
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from emolib.data.batches import short_side
from emolib.network.create import create_model
from emolib.spec.run_spec import RunSpec


def script(data, specs, test: bool = True) -> list[float]:
    """What one writes first: the equations as printed, contiguous float32, files decoded in every
    epoch by a DataLoader with a worker for each core, fold after fold. Returns the accuracies."""
    accuracies = []
    for spec in specs:
        model = create_model("maiafa", backbone=spec.backbone, head="reference")
        optimizer = torch.optim.SGD(
            model.parameters(), lr=spec.lr, momentum=spec.momentum, weight_decay=spec.weight_decay
        )
        train, test_part = data.folds()[spec.fold]
        model.train()
        for _ in range(spec.epochs):
            for images, labels in _loader(data, train, spec, model.pretrained_cfg, True):
                optimizer.zero_grad()
                F.cross_entropy(model(images), labels).backward()
                optimizer.step()
        if test:
            model.eval()
            right = 0
            with torch.no_grad():
                for images, labels in _loader(data, test_part, spec, model.pretrained_cfg, False):
                    right += int((model(images).argmax(1) == labels).sum())
            accuracies.append(100 * right / len(test_part))
    return accuracies


class _Files(torch.utils.data.Dataset):
    def __init__(self, data, indices, transform):
        self.data, self.indices, self.transform = data, indices, transform

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, i):
        image = Image.open(self.data.paths[self.indices[i]]).convert("RGB")
        return self.transform(image), int(self.data.labels[self.indices[i]])


def _loader(data, indices, spec: RunSpec, cfg: dict, training: bool) -> DataLoader:
    whole = v2.Compose(
        [
            transform(spec.image_size, spec.crop, training),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(cfg["mean"], cfg["std"]),
        ]
    )
    return DataLoader(
        _Files(data, indices, whole),
        batch_size=spec.batch_size,
        shuffle=training,
        num_workers=os.cpu_count(),
    )


def transform(size: int, crop: str, training: bool) -> v2.Compose:
    shrink = v2.Resize([short_side(size)], antialias=True)
    view = {
        (True, "random"): [shrink, v2.RandomCrop(size), v2.RandomHorizontalFlip()],
        (True, "resized"): [v2.RandomResizedCrop(size, antialias=True), v2.RandomHorizontalFlip()],
    }.get((training, crop), [shrink, v2.CenterCrop(size)])
    return v2.Compose([v2.PILToTensor(), *view])
