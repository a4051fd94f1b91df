// What kernels.cu finds on a GPU, for a C++ compiler: threads one after the other.

#include <math.h>
#include <stddef.h>
#include <string.h>

#define __global__
#define __device__
// Memory of the tests lies where it lies.
#define __align__(n)
#define UNROLL

struct Three { unsigned x, y, z; };
static thread_local Three blockIdx, threadIdx;
static const Three blockDim = {256, 1, 1};

static int __float_as_int(float value) {
    int bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float __int_as_float(int bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static unsigned atomicMin(unsigned* at, unsigned value) {
    const unsigned before = *at;
    if (value < before) *at = value;
    return before;
}

extern "C" void become_thread(unsigned index) {
    blockIdx.x = index / blockDim.x;
    threadIdx.x = index % blockDim.x;
}
