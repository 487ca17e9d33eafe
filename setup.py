"""What pyproject.toml cannot say: which packages a wheel holds."""

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildPy(build_py):
    """Leaves the commands out of a wheel, where their names would meet those of others."""

    def finalize_options(self) -> None:
        """An editable installation finds `studies` and `reports` too; a wheel leaves them out."""
        super().finalize_options()
        if not self.editable_mode and self.packages:
            self.packages = [name for name in self.packages if name.split(".")[0] == "stvm"]


setup(cmdclass={"build_py": BuildPy})
