"""What the tests of annotation files share."""

import pytest
from annotation_files import reader


@pytest.fixture
def read(tmp_path):
    return reader(tmp_path)
