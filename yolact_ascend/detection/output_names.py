"""The outputs of a graph that ends in detections or candidates, by name."""

BOXES, SCORES, CLASSES, COUNT = "boxes", "scores", "classes", "count"  # of every family's cut `detections`
COEFFS, PROTOS = "coeffs", "protos"  # what YOLACT's masks are made of
WHOLE = (COUNT, PROTOS)  # outputs without a row for each detection
