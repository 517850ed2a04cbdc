"""Words for figures in place of what tables and code call methods."""

METHOD_NAMES = {
    "maiafa": "MAI + AFA network",
    "normal": "MAI + AFA network",
    "without_mai": "without MAI",
    "without_afa": "without AFA",
    "without_both": "without MAI and AFA",
    "without_transfer": "this set alone",
    "without_afa=region": "read as D⊗F",
    "levels=increased": "levels after HRNet's head",
    "attention=shuffle": "Shuffle Attention",
    "gate=fused": "A multiplies O",
    "psi=softmax": "ψ by softmax",
    "psi=sigmoid": "ψ by sigmoid",
    "width=256": "half the width",
    "width=1024": "double width",
    "rao2016": "Rao et al. 2016",
    "resnet101": "ResNet-101",
    "pcnn": "PCNN (You 2015)",
    "ar": "AR (Yang 2018)",
    "rao2020": "Rao et al. 2019",
    "wu2019": "Wu et al. 2020",
    "mcpnet": "MCPNet (Ou 2021)",
    "wscnet": "WSCNet (Yang 2018)",
    "yao2019": "Yao et al. 2019",
    "priya2020": "Priya & Udayan 2020",
    "frozen_probe": "logistic regression (frozen)",
    "clip_probe": "CLIP (frozen)",
    "clip_finetune": "CLIP (fine-tuned)",
}


def readable(method: str) -> str:
    """A method of a table in words; of several settings each. What has no words stays as it is: a
    backbone is known by its name."""
    return ", ".join(METHOD_NAMES.get(part, part) for part in method.split(", "))
