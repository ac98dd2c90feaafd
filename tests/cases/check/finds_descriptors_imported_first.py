from triton.tools.tensor_descriptor import TensorDescriptor
import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def double_kernel(x_desc, y_desc, BLOCK: tl.constexpr):
    first = tl.program_id(0) * BLOCK
    y_desc.store([first], 2 * x_desc.load([first]))


def double(x):
    y = torch.empty_like(x)
    x_desc, y_desc = (TensorDescriptor.from_tensor(each, [64]) for each in (x, y))
    double_kernel[(x.numel() // 64,)](x_desc, y_desc, BLOCK=64)
    return y


class ModelNew(nn.Module):
    def forward(self, x):
        return double(x)

# expect: 2:8 CG003
# expect: 3:8 CG003
# expect: 4:8 CG003
# expect: 5:8 CG003
