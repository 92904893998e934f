"""Compilation of device functions to LLVM code only, without machine code of their own.

numba compiles each function to machine code together with all of its callees, so a function four
calls deep would be optimised and compiled five times. The classes below use numba's interfaces for
custom compilers to skip this for functions that only kernels call.
"""

from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.compiler_machinery import LoweringPass, PassManager, register_pass
from numba.core.registry import CPUDispatcher
from numba.core.typed_passes import NativeLowering


class _Library(JITCodeLibrary):
    """LLVM code that is linked into other libraries, but not compiled to machine code."""

    def _optimize_final_module(self) -> None:
        """Skip the optimisation, which is done in the libraries of the kernels."""

    def _finalize_final_module(self) -> None:
        self._finalized = True


@register_pass(mutates_CFG=False, analysis_only=False)
class _Register(LoweringPass):
    """Register a lowered function for its callers, with a placeholder for its address."""

    _name = "twofold_register_device_function"

    def __init__(self) -> None:
        LoweringPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        lowered = state["cr"]._replace(cfunc=object())
        state.targetctx.insert_user_function(lowered.cfunc, lowered.fndesc, [state.library])
        state["cr"] = lowered
        return True


class _Compiler(Compiler):
    def define_pipelines(self) -> list[PassManager]:
        state = self.state
        state.flags.no_compile = True
        state.library = _Library(state.targetctx.codegen(), state.func_id.func_qualname)
        pipelines: list[PassManager] = super().define_pipelines()
        for pipeline in pipelines:
            pipeline.add_pass_after(_Register, NativeLowering)
            pipeline.finalize()
        return pipelines


class DeviceFunction(CPUDispatcher):
    """A compiled function that can be called from kernels only."""

    def __init__(self, function: Any, targetoptions: dict[str, Any]) -> None:
        super().__init__(function, targetoptions=targetoptions, pipeline_class=_Compiler)

    def add_overload(self, compiled: Any) -> None:
        """Store the code of a signature without making it callable from Python."""
        self.overloads[tuple(compiled.signature.args)] = compiled

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Raise TypeError, because there is no machine code."""
        raise TypeError(f"{self.__name__} is a device function: call it from a kernel")
