"""Packed 4-bit operands unpacked for tensor cores, four bytes a register, and their products."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait


@triton.jit
def wait_for_previous(DEPENDENT: tl.constexpr):
    """Where launches overlap (sm_90): go on when the previous one has written all, let the next
    one start to wait. Every kernel calls it before it touches activations.
    """
    if DEPENDENT:
        gdc_wait()
        gdc_launch_dependents()


@triton.jit
def near_offset(zero, NEAR: tl.constexpr):
    """0; with NEAR a multiple of 8 as far as the compiler knows. Copies of 16 bytes to shared
    memory pass the nearest cache by, while those of 8 find there what another tap has read.
    """
    return zero * 8 if NEAR else 0


@triton.jit
def nibbles(packed, INTERPRETED: tl.constexpr):
    """Low and high nibble of each byte (uint8) as two int8 tensors of its shape."""
    if INTERPRETED:
        low = (packed & 15).to(tl.int8)
        high = (packed >> 4).to(tl.int8)
    else:
        # Four bytes a register: three instructions for eight values.
        low, high = tl.inline_asm_elementwise(
            "{ .reg .b32 t; and.b32 $0, $2, 0x0f0f0f0f; shr.u32 t, $2, 4; "
            "and.b32 $1, t, 0x0f0f0f0f; }",
            "=r,=r,r",
            [packed],
            dtype=(tl.int8, tl.int8),
            is_pure=True,
            pack=4,
        )
    return low, high


@triton.jit
def signed_nibbles(packed, INTERPRETED: tl.constexpr):
    """As `nibbles`, of two's complement nibbles: -8 to 7."""
    low, high = nibbles(packed, INTERPRETED)
    if INTERPRETED:
        low = (low ^ 8) - 8
        high = (high ^ 8) - 8
    else:
        # A byte y of 8 to 15 becomes y + 8 * 30: the sign in its high nibble, no carry out.
        low, high = tl.inline_asm_elementwise(
            "{ .reg .b32 t; and.b32 t, $2, 0x08080808; mad.lo.u32 $0, t, 30, $2; "
            "and.b32 t, $3, 0x08080808; mad.lo.u32 $1, t, 30, $3; }",
            "=r,=r,r,r",
            [low, high],
            dtype=(tl.int8, tl.int8),
            is_pure=True,
            pack=4,
        )
    return low, high


@triton.jit
def plus_product(total, x, w, INTEGER_CORES: tl.constexpr):
    """`total + x w`, int32, of int8 operands.

    On Turing, whose tensor cores triton no longer uses, as float16 with sums in float32: slow, and
    exact, as at most 256 products of 127 x 128 stay below 2^24.
    """
    if INTEGER_CORES:
        return tl.dot(x, w, total, out_dtype=tl.int32)
    else:
        return total + tl.dot(x.to(tl.float16), w.to(tl.float16)).to(tl.int32)
