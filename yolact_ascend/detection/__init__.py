"""What was found: boxes, masks, detections, results files, evaluation, drawing.

Arrays in, arrays out: knows neither networks nor targets. May import the floor only.
"""
