"""The samples that `study.py --pictures FOLDER` kept, side by side with their names, in the order of a study.

python recipes/adversarial/contact.py recipes/adversarial/ablation.yaml FOLDER docs/images/why-gans-break.png
"""

import argparse
from pathlib import Path

import yaml
from PIL import Image, ImageDraw
from study import picture_of

SIDE, TITLE, ACROSS = 230, 18, 4


def main() -> None:
    """Draw them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    study = yaml.safe_load(options.study.read_text())
    there = [(m, options.folder / picture_of(study["data"], m)) for m in study["models"]]
    there = [(model, path) for model, path in there if path.exists()]
    down = -(-len(there) // ACROSS)
    page = Image.new("RGB", (ACROSS * (SIDE + 8), down * (SIDE + TITLE + 8)), "white")
    draw = ImageDraw.Draw(page)
    for i, (model, path) in enumerate(there):
        x, y = i % ACROSS * (SIDE + 8), i // ACROSS * (SIDE + TITLE + 8)
        draw.text((x + 2, y + 2), model, fill="black", font_size=13)
        page.paste(Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS), (x, y + TITLE))
    page.quantize(64).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
