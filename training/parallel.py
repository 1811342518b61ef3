"""On which devices and machines a stage trains, and in which precision: the section ``hardware`` of ``params.yaml``."""

import json
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import keras
import tensorflow as tf

from ledger.errors import ConfigurationError, DistributionError
from ledger.meter import Usage
from ledger.parameters import Parameters, read_parameters
from ledger.places import Places

Stage = Callable[[Places, Usage], None]

logger = logging.getLogger(__name__)

CPU_FLAGS = Path("/proc/cpuinfo")
FAST_BFLOAT16 = ("avx512_bf16", "amx_bf16")
"""The CPU flags of which one is needed for bfloat16 to pay; without, it is emulated."""
UNSPLIT = ("model", "hybrid")
WAIT_S = 300.0
"""Seconds a worker waits for the others at the start; TensorFlow itself would wait forever."""


class Hardware(Parameters):
    """The section ``hardware`` of ``params.yaml``."""

    strategy: Literal["none", "mirrored", "multi_worker", "model", "hybrid"]
    precision: Literal["float32", "bfloat16", "float16", "auto"]
    listen: bool


@contextmanager
def training_on(hardware: Hardware, environment: Mapping[str, str] = os.environ) -> Iterator[Any]:
    """Have all that is built inside train on the hardware asked for; enter it before TensorFlow does anything.

    Models, optimizers and `SoftLabelTraining` have to be made inside.

    Parameters
    ----------
    hardware : Hardware
        ``strategy``: ``none`` is one device; ``mirrored`` all GPUs of this machine (without any, its logical CPUs);
        ``multi_worker`` the machines that ``TF_CONFIG`` names, this being one of them.
        ``precision``: of the arithmetic; weights are kept in float32.
    environment : mapping
        Where ``TF_CONFIG`` is read.

    Yields
    ------
    tf.distribute.Strategy
        Its ``num_replicas_in_sync`` share each batch.

    Raises
    ------
    ConfigurationError
        If the layout would not be honoured.
    DistributionError
        If the other workers do not come.
    """
    before = keras.config.dtype_policy()
    strategy = make_strategy(hardware, environment)
    policy = precision_policy(hardware)
    logger.info("%d replicas, %s", strategy.num_replicas_in_sync, policy)
    keras.config.set_dtype_policy(policy)
    try:
        with strategy.scope():
            yield strategy
    finally:
        keras.config.set_dtype_policy(before)


def make_strategy(hardware: Hardware, environment: Mapping[str, str] = os.environ) -> Any:
    """Return the ``tf.distribute`` strategy asked for, or refuse; see `training_on`."""
    refuse_unsplit(hardware)
    if hardware.strategy == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        if len(devices) < 2:
            raise ConfigurationError(
                f"hardware.strategy is mirrored, but this machine has one device ({devices[0].name}); set it to none"
            )
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    if hardware.strategy == "multi_worker":
        cluster = check_cluster(environment, hardware.listen)
        meet(cluster["cluster"]["worker"], cluster["task"]["index"], WAIT_S)
        tf.config.experimental.enable_op_determinism()  # has to stand before the workers speak
        try:
            return tf.distribute.MultiWorkerMirroredStrategy()
        except tf.errors.OpError as error:
            reason = str(error.message).strip().splitlines()[0]
            raise DistributionError(
                f"hardware.strategy is multi_worker, but the workers of TF_CONFIG did not come together ({reason})"
            ) from None
    return tf.distribute.get_strategy()


def meet(workers: list[str], index: int, seconds: float) -> None:
    """Return when all workers are there: each tells the first, on the address that TensorFlow's worker will take.

    TensorFlow's own wait has no end, and holds Python's lock: neither a thread nor a signal gets through.

    Raises
    ------
    DistributionError
        If one is missing after so many seconds; it names those that did not come.
    """
    deadline = time.monotonic() + seconds
    host, _, port = workers[0].rpartition(":")
    address = (host.strip("[]"), int(port))
    if index:
        _tell_first(address, index, deadline, seconds)
        return
    missing, heard = set(range(1, len(workers))), []
    with socket.create_server(address) as server:
        while missing:
            server.settimeout(max(deadline - time.monotonic(), 0.01))
            try:
                connection, _ = server.accept()
                connection.settimeout(max(deadline - time.monotonic(), 0.01))
                missing.discard(int(connection.recv(16)))
            except TimeoutError:
                absent = ", ".join(workers[number] for number in sorted(missing))
                raise DistributionError(
                    f"hardware.strategy is multi_worker: after {seconds:.0f} s no word from {absent}; start all workers of TF_CONFIG"
                ) from None
            except ValueError:  # a stranger
                continue
            heard.append(connection)
    for connection in heard:
        with connection, suppress(OSError):
            connection.sendall(b"all")
            connection.recv(1)  # closed by the other side first, so that the port is free


def _tell_first(address: tuple[str, int], index: int, deadline: float, seconds: float) -> None:
    while (left := deadline - time.monotonic()) > 0:
        with suppress(OSError), socket.create_connection(address, timeout=left) as connection:
            connection.sendall(str(index).encode())
            if connection.recv(16) == b"all":
                return
        time.sleep(0.2)
    raise DistributionError(
        f"hardware.strategy is multi_worker: after {seconds:.0f} s no word from {address[0]}:{address[1]} that all workers "
        "of TF_CONFIG are there; start all of them"
    )


def refuse_unsplit(hardware: Hardware) -> None:
    """Refuse model and hybrid parallel: Keras' TensorFlow backend takes such a layout and splits nothing.

    (``keras/src/backend/tensorflow/distribution_lib.py``: "This is a prototype ... DO NOT USE".)

    Raises
    ------
    ConfigurationError
        If ``hardware.strategy`` asks for it, or ``keras.distribution`` was set to it.
    """
    layout = keras.distribution.distribution()
    named = type(layout).__name__ if layout is not None else None
    if hardware.strategy in UNSPLIT or named is not None:
        asked = f"hardware.strategy is {hardware.strategy}" if hardware.strategy in UNSPLIT else f"keras: {named}"
        raise ConfigurationError(
            f"{asked}, but Keras on TensorFlow does not split a model, it would train whole on one device; "
            "set hardware.strategy to none, mirrored or multi_worker (all are data parallel)"
        )


def check_cluster(environment: Mapping[str, str], listen: bool) -> dict[str, Any]:
    """Read ``TF_CONFIG``, and see that ``hardware.listen`` allows what TensorFlow makes of it.

    ``tf.distribute.Server`` and the context of ``MultiWorkerMirroredStrategy`` bind the wildcard address (seen: ``*:port``
    for a worker named ``127.0.0.1:port``), and nothing in Python can narrow that. So nothing listens unless told.

    Returns
    -------
    dict
        ``TF_CONFIG``, parsed.

    Raises
    ------
    ConfigurationError
        If it is missing or of another form, or listening was not allowed.
    """
    form = '{"cluster": {"worker": ["host:port", "host:port"]}, "task": {"type": "worker", "index": 0}}'
    try:
        document = json.loads(environment["TF_CONFIG"])
        workers = [str(worker) for worker in document["cluster"]["worker"]]
        task, index = document["task"]["type"], int(document["task"]["index"])
    except (KeyError, TypeError, ValueError):
        raise ConfigurationError(
            f"hardware.strategy is multi_worker: expected TF_CONFIG in the environment, such as {form}"
        ) from None
    if set(document["cluster"]) != {"worker"} or task != "worker" or not 0 <= index < len(workers) or len(workers) < 2:
        raise ConfigurationError(
            f"TF_CONFIG: expected two or more workers, nothing else, and this one's index, as in {form}"
        )
    if not listen:
        raise ConfigurationError(
            "hardware.strategy is multi_worker: TensorFlow's worker listens on every interface of this machine, whatever "
            "address TF_CONFIG names, without password or encryption; set hardware.listen to true if others cannot reach it"
        )
    return dict(document)


def precision_policy(hardware: Hardware) -> str:
    """Return Keras' dtype policy for ``hardware.precision``.

    ``auto`` is bfloat16 where the CPU computes it (measured on an EPYC with AVX512_BF16, MiniLM: docs/parallel.md),
    or on any GPU of compute capability 8 or more, else float32.

    Raises
    ------
    ConfigurationError
        If float16 is asked for without a GPU, or with several replicas.
    """
    gpus = tf.config.list_physical_devices("GPU")
    precision: str = hardware.precision
    if precision == "float16" and not gpus:
        raise ConfigurationError(
            "hardware.precision is float16, which needs a GPU; set it to float32, or to auto (bfloat16 where it pays)"
        )
    if precision == "float16" and hardware.strategy != "none":
        raise ConfigurationError(
            "hardware.precision is float16, whose loss scale is kept on one device only; set it to bfloat16"
        )
    if precision == "auto":
        precision = "bfloat16" if computes_bfloat16(gpus) else "float32"
    return "float32" if precision == "float32" else f"mixed_{precision}"


def computes_bfloat16(gpus: list[Any], flags: Path = CPU_FLAGS) -> bool:
    """Whether this machine computes bfloat16 faster than float32."""
    if gpus:
        capabilities = [tf.config.experimental.get_device_details(gpu).get("compute_capability") for gpu in gpus]
        return all(capability is not None and capability[0] >= 8 for capability in capabilities)
    return flags.is_file() and any(flag in flags.read_text("utf-8").split() for flag in FAST_BFLOAT16)


def on_hardware(stage: Stage) -> Stage:
    """Return a stage that runs as the section ``hardware`` says; `training_on` says what that may raise."""

    def run(places: Places, usage: Usage) -> None:
        with training_on(read_parameters("hardware", Hardware)):
            stage(places, usage)

    return run
