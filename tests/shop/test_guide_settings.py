"""What section `guidance` is called, and what it refuses."""

from dataclasses import dataclass

import jax
import numpy as np
import pytest
from guided import CONDITIONAL, config_of
from PIL import Image

from scorejax.experiment import steering, workdir
from scorejax.experiment.config import override, to_dict
from scorejax.experiment.evaluation import controlled, evaluate
from scorejax.experiment.trained import restore
from scorejax.guidance.operators.filters import AveragePool
from scorejax.runtime.errors import ConfigError


@pytest.fixture(scope="module")
def masks(tmp_path_factory):
    where = tmp_path_factory.mktemp("masks")
    Image.fromarray(np.zeros((5, 8), np.uint8)).save(where / "small.png")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(where / "black.png")
    return where


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["guidance=paint"], ["'paint'", "inpaint", "edit"]),
        (["guidance=inpaint", "guidance.mask={masks}/small.png"], ["8x5", "8x8", "not resized"]),
        (["guidance=inpaint", "guidance.mask={masks}/black.png"], ["black everywhere"]),
        (["guidance=inpaint", "guidance.mask=quarter"], ["'quarter'", "half", "center"]),
        (["guidance=inpaint", "guidance.t0=0.5"], ["guidance.t0", "inpaint", "mask"]),
        (["guidance=inpaint", "guidance.target={masks}"], ["guidance.target", "inpaint", "mask"]),
        (["guidance=inpaint", "guidance.method.zeta=1"], ["guidance.method.zeta", "replacement", "rounds"]),
        (["guidance=inpaint", "guidance.sigma_y=0.1"], ["replacement", "exact", "pigdm"]),
        (["guidance=inpaint", "guidance.method=magic"], ["'magic'", "ddrm"]),
        (["guidance=restore", "guidance.method.clip=true"], ["guidance.method.clip", "'ddrm'", "eta_b"]),
        (["guidance=restore", "sampler.corrector=langevin"], ["'langevin'", "sampler.corrector=none", "pigdm"]),
        (["guidance=inpaint", "guidance.labels=(3,)"], ["guidance.labels", "recipe.conditional"]),
        (["guidance=inpaint", "guidance.measured=true"], ["guidance.measured", "guidance.input"]),
        (["guidance=inpaint", "guidance.input={masks}/absent"], ["guidance.input", "absent", "folder"]),
        (["guidance=inpaint", "guidance.input={empty}"], ["guidance.input", "no image"]),
        (["guidance=restore", "guidance.operator=sharpen"], ["'sharpen'", "superresolution", "blur"]),
        (["guidance=restore", "guidance.operator=superresolution:3"], ["superresolution", "8x8", "3x3"]),
        (["guidance=restore", "guidance.operator=mask:mask=none"], ["'mask'", "half", "center"]),
        (["guidance=restore", "guidance.operator=random:2"], ["share", "'2'", "less than 1"]),
        (["guidance=restore", "guidance.operator=gray"], ["color"]),
        (["guidance=restore", "guidance.method=replacement"], ["replacement", "pixels", "pigdm"]),
        (["guidance=edit", "guidance.t0=1.5"], ["guidance.t0 = 1.5", "1.0"]),
        (["guidance=translate"], ["guidance.classifier", "workdir"]),
        (["data.name=moons", "guidance=inpaint"], ["vectors", "moons"]),
    ],
)
def test_a_task_that_cannot_be_done_is_refused_at_once(tmp_path, masks, overrides, words):
    overrides = [text.format(masks=masks, empty=tmp_path) for text in overrides]
    with pytest.raises(ConfigError) as refused:
        controlled.control(config_of(*overrides), tmp_path / "run")
    assert all(word in str(refused.value) for word in words), refused.value


def test_a_domain_that_is_missing_is_refused_before_anything_is_translated(tmp_path, classifier):
    given = ["guidance=translate", f"guidance.classifier={classifier}", "guidance.target=/nonexistent"]
    with pytest.raises(ConfigError, match=r"guidance.target.*nonexistent"):
        controlled.control(config_of(*given), tmp_path / "run")
    assert not (tmp_path / "run" / "samples").exists()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["guidance=classifier_free"], ["recipe.conditional"]),
        (["recipe.conditional=true", "guidance=classifier_free", "guidance.scale=2"], ["label_dropout"]),
        ([*CONDITIONAL, "guidance=classifier_free", "guidance.labels=(11,)"], ["(11,)", "0 to 9"]),
        ([*CONDITIONAL, "guidance=classifier_free", "guidance.interval=(2,1)"], ["(2.0, 1.0)", "low"]),
        ([*CONDITIONAL, "guidance=classifier_free", "guidance.classifier=x"], ["guidance.classifier", "labels"]),
        (["guidance=classifier"], ["guidance.classifier", "workdir"]),
        (["guidance=inpaint"], ["--mode=sample"]),
        (["guidance=nothing"], ["'nothing'", "classifier_free", "inpaint"]),
    ],
)
def test_class_guidance_that_cannot_be_done_is_refused_at_once(tmp_path, train, overrides, words):
    with pytest.raises(ConfigError) as refused:
        evaluate.subject(config_of(*overrides), tmp_path)
    assert all(word in str(refused.value) for word in words), refused.value


def task_of(tmp_path, train, *overrides):
    config = config_of("guidance=restore", *overrides)
    return steering.task(config, restore(config, tmp_path))


def test_posterior_means_are_clipped_to_the_range_of_the_images_unless_told_otherwise(tmp_path, train):
    def bounds(*overrides):
        return task_of(tmp_path, train, "guidance.method=pigdm", *overrides).bounds

    assert (bounds(), bounds("data.centered=false")) == ((-1.0, 1.0), (0.0, 1.0))
    assert bounds("guidance.method.clip=false") is None


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Lopsided(AveragePool):
    """An operator that breaks a law: its adjoint is another one's."""

    def adjoint(self, y):
        return self.pinv(y)


def lopsided(shape, key, *, factor: int = 4):
    """Means over squares, with a wrong adjoint."""
    return Lopsided(factor)


def test_an_operator_of_ones_own_is_tried_and_one_that_breaks_its_laws_refused(tmp_path, train):
    with pytest.raises(ConfigError, match=r"guidance.operator: Lopsided.*adjoint"):
        task_of(tmp_path, train, "guidance.operator=test_guide_settings:lopsided:factor=2")


def test_results_of_other_settings_have_other_names():
    asked = ("guidance=restore", "guidance.operator=blur:2.5", "guidance.method=pigdm", "guidance.sigma_y=0.05")
    assert steering.title(config_of(*asked)) == "restore-blur-2.5-pigdm-sigma_y-0.05"
    given = ("guidance=edit", "guidance.input=some/where/drawings", "guidance.labels=(8,)", "guidance.mask=in/M.png")
    assert steering.title(config_of(*given)) == "edit-M.png-input-drawings-labels-8"
    assert steering.suffix(config_of(*asked)) != steering.suffix(config_of(*asked, "guidance.sigma_y=0.1"))
    assert steering.suffix(config_of()) == ""


def test_a_section_with_a_name_is_set_by_its_name_alone():
    config = override(config_of(), ["guidance=inpaint", "sde=ve"])
    assert config.guidance.name == "inpaint" and config.sde.name == "ve"


def test_every_guidance_of_images_is_done_by_one_mode_and_refused_by_the_others(train, tmp_path):
    of_images = [name for name, kind in steering.GUIDANCE.items() if issubclass(kind, steering.OfImages)]
    assert of_images == ["inpaint", "restore", "edit", "translate", "undo"]
    for name in steering.GUIDANCE:
        config = config_of(f"guidance={name}")
        assert steering.of_images(config) == (name in of_images)
        if name in of_images:
            with pytest.raises(ConfigError, match=f"'{name}'.*--mode=sample.*classifier_free"):
                evaluate.evaluate(config, tmp_path)


def test_guidance_may_change_between_two_starts_of_a_run():
    before, after = to_dict(config_of()), to_dict(config_of("guidance=inpaint", "guidance.mask=center"))
    assert not workdir.differences(before, after)
