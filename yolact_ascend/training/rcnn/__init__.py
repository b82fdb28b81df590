"""What training Faster and Mask R-CNN needs beside the shared loop: samples, matching, proposals, pooling, losses."""
