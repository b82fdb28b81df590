"""TEMPORARY"""

from yolact_ascend.artifacts import write_json
from yolact_ascend.detections import bbox_results, mask_results


class ResultsFiles:
    def __init__(self, bbox_file, mask_file, category_ids):
        self.f = (bbox_file, mask_file)
        self.c = category_ids
        self.b = []
        self.m = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def add(self, image_id, d):
        self.b += bbox_results(d, image_id, self.c)
        self.m += mask_results(d, image_id, self.c)

    def finish(self):
        for f, x in zip(self.f, (self.b, self.m)):
            write_json(f, x, indent=None)

    def entries(self):
        return self.b, self.m
