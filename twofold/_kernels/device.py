"""How device functions are compiled: as LLVM code only, which the kernels that call them optimise.

numba translates a function into machine code together with all that it calls, also a function that
only other kernels call: what lies four calls deep is optimised and translated five times. The
classes below, put together by numba's interfaces for compilers of one's own, leave that out.
"""

from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler
from numba.core.compiler_machinery import LoweringPass, PassManager, register_pass
from numba.core.registry import CPUDispatcher
from numba.core.typed_passes import NativeLowering


class _Library(JITCodeLibrary):
    """LLVM code that is linked into other libraries, and never translated into machine code."""

    def _optimize_final_module(self) -> None:
        """Leave it to the libraries of the kernels."""

    def _finalize_final_module(self) -> None:
        self._finalized = True


@register_pass(mutates_CFG=False, analysis_only=False)
class _Register(LoweringPass):
    """Make a lowered function known to its callers, under an object that stands for its code."""

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
    """A function that only kernels call."""

    def __init__(self, function: Any, targetoptions: dict[str, Any]) -> None:
        super().__init__(function, targetoptions=targetoptions, pipeline_class=_Compiler)

    def add_overload(self, compiled: Any) -> None:
        """Keep what was compiled for a signature, out of reach of calls from Python."""
        self.overloads[tuple(compiled.signature.args)] = compiled

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Raise: there is no machine code to be called."""
        raise TypeError(f"{self.__name__} is a device function: only kernels can call it")
