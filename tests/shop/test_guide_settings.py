"""What section `guidance` is called, and what it refuses."""

import numpy as np
import pytest
from guided import CONDITIONAL, config_of
from PIL import Image

from scorejax.experiment import steering, workdir
from scorejax.experiment.config import override, to_dict
from scorejax.experiment.evaluation import controlled
from scorejax.experiment.trained import restore
from scorejax.guidance import operators
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
        (["guidance=inpaint", "guidance.mask=quarter"], ["'quarter'", "half", "centre"]),
        (["guidance=inpaint", "guidance.t0=0.5"], ["guidance.t0", "inpaint", "mask"]),
        (["guidance=inpaint", "guidance.target={masks}"], ["guidance.target", "inpaint", "mask"]),
        (["guidance=inpaint", "guidance.zeta=1"], ["guidance.zeta", "rounds"]),
        (["guidance=inpaint", "guidance.sigma_y=0.1"], ["replacement", "exact", "pigdm"]),
        (["guidance=inpaint", "guidance.method=magic"], ["'magic'", "ddrm"]),
        (["guidance=inpaint", "guidance.clip=true"], ["guidance.clip", "pigdm", "'replacement'"]),
        (["guidance=restore", "sampler.corrector=langevin"], ["'langevin'", "sampler.corrector=none", "pigdm"]),
        (["guidance=inpaint", "guidance.labels=(3,)"], ["guidance.labels", "model.conditional"]),
        (["guidance=inpaint", "guidance.measured=true"], ["guidance.measured", "guidance.input"]),
        (["guidance=inpaint", "guidance.input={masks}/absent"], ["guidance.input", "absent", "folder"]),
        (["guidance=inpaint", "guidance.input={empty}"], ["guidance.input", "no image"]),
        (["guidance=restore", "guidance.operator=sharpen"], ["'sharpen'", "superresolution", "blur"]),
        (["guidance=restore", "guidance.operator=superresolution:3"], ["superresolution:3", "8x8", "3x3"]),
        (["guidance=restore", "guidance.operator=mask"], ["guidance.mask", "both"]),
        (["guidance=restore", "guidance.operator=random:2"], ["random:2", "between 0 and 1"]),
        (["guidance=restore", "guidance.operator=grey"], ["colour"]),
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


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["guidance=classifier_free"], ["model.conditional"]),
        (["model.conditional=true", "guidance=classifier_free", "guidance.scale=2"], ["label_dropout"]),
        ([*CONDITIONAL, "guidance=classifier_free", "guidance.labels=(11,)"], ["(11,)", "0 to 9"]),
        ([*CONDITIONAL, "guidance=classifier_free", "guidance.interval=(2,1)"], ["(2, 1)", "low"]),
        ([*CONDITIONAL, "guidance=classifier_free", "guidance.classifier=x"], ["guidance.classifier", "labels"]),
        (["guidance=classifier"], ["guidance.classifier", "workdir"]),
        (["guidance=inpaint"], ["--mode=sample"]),
        (["guidance=nothing"], ["'nothing'", "classifier_free", "inpaint"]),
    ],
)
def test_class_guidance_that_cannot_be_done_is_refused_at_once(train, overrides, words):
    config = config_of(*overrides)
    with pytest.raises(ConfigError) as refused:
        guide.classes(config, build.sde(config), train)
    assert all(word in str(refused.value) for word in words), refused.value


def test_posterior_means_are_clipped_to_the_range_of_the_images_unless_told_otherwise(train):
    def bounds(*overrides):
        config = config_of("guidance=restore", "guidance.method=pigdm", *overrides)
        return guide.task(config, build.sde(config), train).bounds

    assert (bounds(), bounds("data.centered=false")) == ((-1.0, 1.0), (0.0, 1.0))
    assert bounds("guidance.clip=false") is None


def test_an_operator_that_breaks_its_laws_is_refused(monkeypatch, train):
    monkeypatch.setattr(AveragePool, "adjoint", AveragePool.pinv)
    config = config_of("guidance=restore", "guidance.operator=superresolution:4")
    with pytest.raises(ConfigError, match=r"superresolution:4.*adjoint"):
        guide.task(config, build.sde(config), train)


def test_results_of_other_settings_have_other_names():
    told = ("guidance=restore", "guidance.operator=blur:1.5", "guidance.method=pigdm", "guidance.sigma_y=0.05")
    assert guide.title(config_of(*told)) == "restore-blur-1.5-pigdm-sigma_y-0.05"
    given = ("guidance=edit", "guidance.input=some/where/drawings", "guidance.labels=(8,)", "guidance.mask=in/M.png")
    assert guide.title(config_of(*given)) == "edit-M.png-input-drawings-labels-8"
    assert guide.suffix(config_of(*told)) != guide.suffix(config_of(*told, "guidance.sigma_y=0.1"))
    assert guide.suffix(config_of()) == ""


def test_a_section_with_a_name_is_set_by_its_name_alone():
    config = override(config_of(), ["guidance=inpaint", "sde=ve"])
    assert config.guidance.name == "inpaint" and config.sde.name == "ve"
    assert settings.full_key("seed") == "seed"


def test_tasks_are_known_by_name_where_they_are_not_imported():
    assert tuple(guide.TASKS) == by_class.TASKS


def test_guidance_may_change_between_two_starts_of_a_run():
    before, after = to_dict(config_of()), to_dict(config_of("guidance=inpaint", "guidance.mask=centre"))
    assert not workdir.differences(before, after)
