"""Every name of the host's package is importable from ours: a changed import never fails."""

import inspect
import types

import pytest

host = pytest.importorskip("pytorch_grad_cam")
ours = pytest.importorskip("captum_ext_integrations.grad_cam")

PUBLIC = [name for name in dir(host) if not name.startswith("_")]
CAMS = [
    name
    for name in PUBLIC
    if isinstance(getattr(host, name), type)
    and (issubclass(getattr(host, name), host.base_cam.BaseCAM) or name in ("FinerCAM", "RefineCAM", "SESS"))
]


@pytest.mark.parametrize("name", PUBLIC)
def test_a_name_of_the_host_is_a_name_of_ours(name):
    namespace = {}
    exec(f"from captum_ext_integrations.grad_cam import {name}", namespace)
    if name in CAMS:
        assert namespace[name] is not getattr(host, name)
        assert issubclass(namespace[name], getattr(host, name))
        assert namespace[name].__module__ == "captum_ext_integrations.grad_cam"
    else:
        assert namespace[name] is getattr(host, name)


def test_every_class_and_function_of_the_host_is_listed_so_that_a_new_one_is_noticed():
    own = [name for name in PUBLIC if not isinstance(getattr(host, name), types.ModuleType)]
    assert sorted(ours.__all__) == sorted([*own, "CAM"])
    assert sorted(ours.CAM_CLASSES) == sorted([*CAMS, "CAM"])
    assert all(inspect.isclass(getattr(ours, name)) for name in ours.CAM_CLASSES)


def test_a_module_of_the_host_that_it_does_not_import_itself_is_found_and_nothing_else():
    from captum_ext_integrations.grad_cam import ablation_cam_multilayer

    assert ablation_cam_multilayer.__name__ == "pytorch_grad_cam.ablation_cam_multilayer"
    with pytest.raises(ImportError, match="cannot import name 'NoSuchCAM'"):
        exec("from captum_ext_integrations.grad_cam import NoSuchCAM")
    with pytest.raises(AttributeError, match="has no attribute '__path__'"):
        ours.__path__  # noqa: B018
