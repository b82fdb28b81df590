"""Recipes: the shipped ones, files, defaults, hashes, and one sentence for whatever is wrong."""

import pytest

from yolact_ascend.compression.recipe import (
    PruneRecipe,
    QuantizeRecipe,
    Recipe,
    read_recipe,
    shipped_recipes,
)
from yolact_ascend.errors import UsageError


@pytest.fixture
def recipe_file(tmp_path):
    def write(text):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return str(path)

    return write


def test_three_recipes_are_shipped_and_do_what_their_names_say():
    found = {name: read_recipe(name) for name in shipped_recipes()}
    parts = {name: (recipe.prune is not None, recipe.quantize is not None) for name, recipe in found.items()}
    assert parts == {"int8": (False, True), "pruned": (True, False), "pruned_int8": (True, True)}
    assert found["pruned_int8"].prune == found["pruned"].prune
    assert found["pruned_int8"].quantize == found["int8"].quantize


def test_a_file_gives_values_and_leaves_the_rest_at_the_defaults(recipe_file):
    text = "quantize:\n  method: minmax\n  keep_float: [a, b]\n  map_budget: null\nprune:\n"
    found = read_recipe(recipe_file(text))
    quantize = QuantizeRecipe(method="minmax", keep_float=("a", "b"), map_budget=None)
    assert found == Recipe("mine", quantize, PruneRecipe())


def test_the_hash_is_of_the_values_and_not_of_the_text(recipe_file):
    plain, spelled = read_recipe(recipe_file("quantize:\n")), read_recipe(recipe_file("quantize: {seed: 0}  # same\n"))
    other = read_recipe(recipe_file("quantize: {seed: 1}\n"))
    assert plain.sha256 == spelled.sha256 != other.sha256


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("", "expected the keys quantize and/or prune", id="empty"),
        pytest.param("- quantize\n", "expected the keys", id="list"),
        pytest.param("quantise: {}\n", "key 'quantise', expected quantize", id="unknown part"),
        pytest.param("quantize: minmax\n", "expected keys with values", id="no keys"),
        pytest.param("quantize: {methd: minmax}\n", "quantize.methd, which is not known. Known are: method", id="key"),
        pytest.param("quantize: {method: entropy}\n", "one of minmax, percentile, search, best", id="method"),
        pytest.param("quantize: {images: 0}\n", "a whole number from 1", id="no images"),
        pytest.param("quantize: {images: true}\n", "a whole number from 1", id="true is no number"),
        pytest.param("quantize: {map_budget: .nan}\n", "a number from 0 to 100", id="NaN"),
        pytest.param("quantize: {keep_float: conv}\n", "a list of names", id="one name"),
        pytest.param("quantize: {reduce_range: 1}\n", "true or false", id="flag"),
        pytest.param("prune: {ratio: 1}\n", "a number from 0 to 0.95", id="all pruned"),
        pytest.param("quantize: [\n", "not plain YAML", id="bad YAML"),
        pytest.param("quantize: {seed: 1, seed: 2}\n", "the key seed stands there twice", id="twice"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(recipe_file, text, words):
    path = recipe_file(text)
    with pytest.raises(UsageError) as raised:
        read_recipe(path)
    assert path in str(raised.value) and words in str(raised.value)


@pytest.mark.parametrize("word", ["int4", "missing.yaml"])
def test_a_recipe_that_is_not_there_is_one_sentence(word):
    with pytest.raises(UsageError, match=word):
        read_recipe(word)
