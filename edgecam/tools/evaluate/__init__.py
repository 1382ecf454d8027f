"""How good models are: COCO's average precision over annotated pictures, side by side."""
