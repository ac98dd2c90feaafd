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
    return y


DEVICE = torch.device("cuda")
x = y = [double_kernel[(1,)](DEVICE)]
torch.backends.cuda.matmul.allow_tf32 = True
assert triton.__version__ >= "3.6"
for _ in range(3):
    pass
if torch.cuda.is_available():
    SMS = 132
try:
    FAST = True
finally:
    pass
with torch.no_grad():
    pass


class ModelNew(nn.Module):
    def forward(self, x):
        return double(x)


class Model(nn.Module):
    def forward(self, x):
        return 2 * x


async def serve():
    return ModelNew()


if ModelNew:
    import unittest

    unittest.main()

# expect: 19:1 CG006
# expect: 20:1 CG006
# expect: 21:1 CG006
# expect: 22:1 CG006
# expect: 23:1 CG006
# expect: 25:1 CG006
# expect: 27:1 CG006
# expect: 31:1 CG006
# expect: 40:1 CG006
# expect: 45:1 CG006
# expect: 49:1 CG006
