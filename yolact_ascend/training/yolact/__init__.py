"""What training a YOLACT network needs beside the shared loop: samples, matching, losses, initial weights."""
