import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def double_kernel(x, y, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(y + i, 2 * tl.load(x + i))


def double(x):
    y = torch.empty_like(x)
    double_kernel[(x.numel() // 64,)](x, y, BLOCK=64)
    torch.testing.assert_close(y, 2 * x)
    return y


class ModelNew(nn.Module):
    def forward(self, x):
        return double(x)


def test_double():
    x = torch.ones(64)
    assert torch.allclose(double(x), 2 * x)


def benchmark():
    return triton.testing.do_bench(lambda: double(torch.ones(64)))


if "__main__" == __name__:
    test_double()
else:
    benchmark()

# expect: 16:5 CG006
# expect: 25:1 CG003
# expect: 25:1 CG011
# expect: 30:1 CG003
# expect: 30:1 CG011
# expect: 31:12 CG006
# expect: 34:1 CG007
