"""Clusters on a Spark cluster, or on this machine's cores: the module that knows PySpark.

It is not a dependency: ``pip install 'comity[spark]'``, and a Java runtime. Where Spark runs is its
own configuration's (``spark-defaults.conf``, ``SPARK_CONF_DIR``, ``PYSPARK_SUBMIT_ARGS``); on more
than one machine the directory of the staged files has to be one that all of them see.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from dedupe.clusters import ClusterError

try:
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession
except ImportError as error:
    raise ClusterError(
        "--engine spark needs PySpark, which is not installed: pip install 'comity[spark]'"
    ) from error

_LEAST: Final = 512 * 2**20  # bytes; Spark wants 450 MiB before it starts


class SparkEngine:
    """An :class:`~dedupe.clusters.Engine` over Parquet files with the columns of STAGED.

    ``directory`` is empty and takes the tables; ``memory`` (bytes) is the driver's, and so all
    there is where Spark runs on this machine only.
    """

    name: Final = "spark"

    def __init__(self, files: Sequence[Path], directory: Path, memory: int) -> None:
        _find_java()
        if memory < _LEAST:
            few = f"{memory / 1e6:,.0f} MB of memory are too few for Spark"
            raise ClusterError(f"{few}: give at least 512MiB with --memory")
        with _mapped():
            self._spark: Any = (
                SparkSession.builder.appName("comity corpus dedupe")
                .config("spark.driver.memory", f"{memory // 2**20}m")
                .config("spark.sql.warehouse.dir", f"file://{directory}/tables")
                .config("spark.local.dir", str(directory / "spilled"))
                .config("spark.sql.catalogImplementation", "in-memory")
                .config("spark.ui.enabled", "false")
                .config("spark.ui.showConsoleProgress", "false")
                .config("spark.log.level", "ERROR")
                .getOrCreate()
            )
            staged = self._spark.read.parquet(*(f"file://{file}" for file in files))
            staged.createOrReplaceTempView("staged")

    def run(self, statement: str, values: Mapping[str, Any]) -> None:
        with _mapped():
            self._spark.sql(statement, args=dict(values))

    def rows(self, statement: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        with _mapped():
            return [tuple(row) for row in self._spark.sql(statement, args=dict(values)).collect()]

    def arrow(self, statement: str, values: Mapping[str, Any]) -> pa.Table:
        with _mapped():
            found: pa.Table = self._spark.sql(statement, args=dict(values)).toArrow()
            return found

    def close(self) -> None:
        self._spark.stop()


def _find_java() -> None:
    home = os.environ.get("JAVA_HOME")
    if shutil.which("java", path=f"{home}/bin" if home else None) is None:
        where = f" in JAVA_HOME ({home})" if home else ""
        raise ClusterError(
            f"--engine spark needs a Java runtime, and there is none{where}: "
            "apt-get install openjdk-17-jre-headless"
        )


@contextmanager
def _mapped() -> Iterator[None]:
    try:
        yield
    except (PySparkException, Py4JError) as error:
        raise ClusterError(f"Spark: {' '.join(str(error).split())[:300]}") from error
