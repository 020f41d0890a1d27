"""The stand-ins refuse what the real ones would: a fake that takes everything tests nothing."""

import threading

import numpy as np
import pytest

from tests.fakes.cuda import FakeCuda, LogicError
from tests.fakes.tensorrt import VERSIONS, Jetson


def trt(version):
    return Jetson(version).trt


@pytest.mark.parametrize(
    ("version", "enum", "member"),
    [
        ("11.4.0.106", "BuilderFlag", "INT8"),
        ("11.0.0.114", "NetworkDefinitionCreationFlag", "EXPLICIT_BATCH"),
        ("8.6.1", "NetworkDefinitionCreationFlag", "STRONGLY_TYPED"),
        ("8.5.3.1", "MemoryPoolType", "TACTIC_DRAM"),
        ("10.3.0", "PreviewFeature", "DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805"),
        ("11.4.0.106", "TacticSource", "CUDNN"),
    ],
)
def test_a_member_that_a_version_lacks_is_not_there(version, enum, member):
    with pytest.raises(AttributeError):
        getattr(getattr(trt(version), enum), member)


def test_a_class_that_a_version_lacks_is_not_there():
    assert hasattr(trt("10.3.0"), "IProgressMonitor")
    assert not hasattr(trt("8.6.1"), "IProgressMonitor")


def test_a_property_that_a_version_lacks_cannot_be_set():
    config = Jetson("8.5.3.1").new("IBuilderConfig")
    with pytest.raises(AttributeError, match="max_aux_streams"):
        config.max_aux_streams = 0


def test_a_property_takes_its_own_type_only():
    machine = Jetson("10.3.0")
    config = machine.new("IBuilderConfig")
    with pytest.raises(TypeError, match="profiling_verbosity"):
        config.profiling_verbosity = 2
    config.profiling_verbosity = machine.trt.ProfilingVerbosity.DETAILED


def test_an_argument_that_a_call_lacks_is_refused():
    machine = Jetson("10.3.0")
    engine = machine.new("ICudaEngine")
    with pytest.raises(TypeError, match="create_execution_context"):
        engine.create_execution_context(runtime_config=None)


def test_an_argument_of_another_type_is_refused():
    machine = Jetson("8.6.0")
    with pytest.raises(TypeError, match="set_flag"):
        machine.new("IBuilderConfig").set_flag(0)


def test_what_nobody_told_the_fake_fails_instead_of_doing_nothing():
    with pytest.raises(AssertionError, match="tell it"):
        Jetson("10.3.0").new("ICudaEngine").serialize()


def test_a_logger_that_forgets_its_base_is_refused():
    machine = Jetson("10.3.0")

    class Log(machine.trt.ILogger):
        def __init__(self):
            pass

    with pytest.raises(TypeError, match=r"ILogger\.__init__"):
        Log()


def test_what_only_tensorrt_makes_cannot_be_made():
    with pytest.raises(TypeError, match="No constructor"):
        trt("10.3.0").ICudaEngine()


@pytest.mark.parametrize("version", VERSIONS)
def test_members_have_the_numbers_of_their_version(version):
    flags = trt(version).BuilderFlag
    assert int(flags.TF32) == (7 if version.startswith("8") else 6)


def test_nothing_on_the_gpu_works_without_a_context():
    cuda = FakeCuda()
    driver = cuda.modules()["pycuda.driver"]
    with pytest.raises(LogicError, match="invalid device context"):
        driver.mem_alloc(4)
    context = driver.Device(0).retain_primary_context()
    context.push()
    memory = driver.mem_alloc(4)
    context.pop()
    with pytest.raises(LogicError, match="invalid device context"):
        memory.free()


def test_another_thread_has_no_context_of_its_own():
    cuda = FakeCuda()
    driver = cuda.modules()["pycuda.driver"]
    driver.Device(0).retain_primary_context().push()
    found = []

    def elsewhere():
        try:
            driver.Stream()
        except LogicError as e:
            found.append(str(e))

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert "invalid device context" in found[0]


def test_a_copy_is_done_when_somebody_waits_for_it():
    cuda = FakeCuda()
    driver = cuda.modules()["pycuda.driver"]
    driver.Device(0).retain_primary_context().push()
    stream, memory = driver.Stream(), driver.mem_alloc(4)
    host = driver.pagelocked_empty((1,), np.float32)
    host[0] = 7
    driver.memcpy_htod_async(memory, host, stream)
    host[0] = 8  # still in time
    stream.synchronize()
    assert cuda.at(int(memory)).view(np.float32)[0] == 8
    with pytest.raises(AssertionError, match="not page-locked"):
        driver.memcpy_htod_async(memory, np.zeros(1, np.float32), stream)


def test_host_memory_has_no_address_on_the_gpu_unless_mapped():
    driver = FakeCuda().modules()["pycuda.driver"]
    driver.Device(0).retain_primary_context().push()
    plain = driver.pagelocked_empty((1,), np.float32)
    with pytest.raises(LogicError):
        plain.base.get_device_pointer()
    mapped = driver.pagelocked_empty((1,), np.float32, mem_flags=driver.host_alloc_flags.DEVICEMAP)
    assert mapped.base.get_device_pointer() > 2**32
