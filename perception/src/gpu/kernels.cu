// Kernels for CUDA, without any header: NVRTC compiles them for a GPU, and a C++ compiler, behind the shim of the
// tests, for the processor, where each is run against its Rust twin. So no thread may wait for another one.
//
// Shapes: [D, H, W], x fastest. Units: mm, pixels, voxels. Rounding: without contraction to fused operations
// (--fmad=false) every kernel but those of the network does its twin's operations in its twin's order.

typedef unsigned char byte;

// Loops whose arrays must lie in registers.
#ifndef UNROLL
#define UNROLL _Pragma("unroll")
#endif

__device__ static int thread_index() { return (int)(blockIdx.x * blockDim.x + threadIdx.x); }

// ---- norm, what is added behind it, and ReLU: network::extension -----------------------------------------------------

// Where the numbers of an activation [N, C, D, H, W] are, in floats.
struct Strides { int of[5]; };

// What the norm is of. Thread i writes number i of the dense output, whose channels are last if `channels_last` is set.
struct Normed {
    int dims[5];
    int channels_last, added, rectified;
    Strides x, add;
};

__device__ static int place(const Strides& strides, const int at[5]) {
    int sum = 0;
    for (int a = 0; a < 5; a++) sum += strides.of[a] * at[a];
    return sum;
}

extern "C" __global__ void norm_activation(const float* x, const float* mean, const float* variance, const float* gamma,
                                           const float* beta, const float* add, float* y, const Normed* what) {
    const Normed n = *what;
    int rest = thread_index();
    if (rest >= n.dims[0] * n.dims[1] * n.dims[2] * n.dims[3] * n.dims[4]) return;
    const int i = rest;
    int at[5];
    if (n.channels_last) {
        at[1] = rest % n.dims[1];
        rest /= n.dims[1];
    }
    for (int a = 4; a >= 2; a--) {
        at[a] = rest % n.dims[a];
        rest /= n.dims[a];
    }
    if (!n.channels_last) {
        at[1] = rest % n.dims[1];
        rest /= n.dims[1];
    }
    at[0] = rest;
    const int c = at[1];
    const float scale = gamma[c] / sqrtf(variance[c] + 1.0f / 131072.0f);
    float value = (x[place(n.x, at)] - mean[c]) * scale + beta[c];
    if (n.added) value += add[place(n.add, at)];
    // Written so that NaN stays NaN.
    y[i] = n.rectified && value < 0.0f ? 0.0f : value;
}

// ---- the network's layers and their gradients: network::extension ----------------------------------------------------
//
// Activations are [N, D, H, W, C] here, channels last. Weights are [taps, in, out], `out` rounded up to a multiple of 4
// with zeros; taps lie as in [K, K, K]. K taps an axis, S voxels from output to output. Padding is 1 where K is 3, else 0.

struct LayerDims {
    int volumes;
    // Edges [D, H, W] and channels of what is read; of what is written, or of the coarser of two that are read.
    int from[3], to[3];
    int in, out;
    // `out` rounded up to a multiple of 4.
    int wide;
    int biased;
    // Of `layer_weight`: so many sums for each weight, and voxels' rows of the coarser that each is over.
    int chunks, rows;
};

struct __align__(16) Four { float of[4]; };
struct __align__(8) Two { float of[2]; };
struct One { float of[1]; };
template <int V> struct Vector;
template <> struct Vector<4> { typedef Four type; };
template <> struct Vector<2> { typedef Two type; };
template <> struct Vector<1> { typedef One type; };

__device__ static Four four(const float* at) { return *(const Four*)at; }

__device__ static int taken(int* rest, int of) {
    const int part = *rest % of;
    *rest /= of;
    return part;
}

// Four channels from `first` on of one voxel.
__device__ static void put(float* y, const LayerDims& l, const float sum[4], int first) {
    if (first + 4 <= l.out && l.out % 4 == 0) {
        const Four all = {{sum[0], sum[1], sum[2], sum[3]}};
        *(Four*)(y + first) = all;
        return;
    }
    for (int c = 0; c < 4 && first + c < l.out; c++) y[first + c] = sum[c];
}

// Each thread writes four channels of four voxels in a row; V channels are read at once.
template <int K, int S, int V>
__device__ static void convolve(const float* x, const float* weight, const float* bias, float* y, const LayerDims l) {
    const int PAD = K == 3 ? 1 : 0, WIDE = 3 * S + K;
    int rest = thread_index();
    const int channel = 4 * taken(&rest, l.wide / 4);
    const int first = 4 * taken(&rest, (l.to[2] + 3) / 4);
    const int row = taken(&rest, l.to[1]), slice = taken(&rest, l.to[0]);
    if (rest >= l.volumes) return;
    float sum[4][4];
    UNROLL
    for (int j = 0; j < 4; j++) {
        UNROLL
        for (int c = 0; c < 4; c++) sum[j][c] = l.biased && channel + c < l.out ? bias[channel + c] : 0.0f;
    }
    for (int dz = 0; dz < K; dz++) {
        const int z = slice * S + dz - PAD;
        if (z < 0 || z >= l.from[0]) continue;
        for (int dy = 0; dy < K; dy++) {
            const int at = row * S + dy - PAD;
            if (at < 0 || at >= l.from[1]) continue;
            const float* line = x + (size_t)(((rest * l.from[0] + z) * l.from[1] + at) * l.from[2]) * l.in;
            const float* taps = weight + (size_t)((dz * K + dy) * K) * l.in * l.wide + channel;
            for (int c = 0; c < l.in; c += V) {
                typename Vector<V>::type seen[WIDE];
                UNROLL
                for (int i = 0; i < WIDE; i++) {
                    const int column = first * S + i - PAD;
                    if (column >= 0 && column < l.from[2]) {
                        seen[i] = *(const typename Vector<V>::type*)(line + (size_t)column * l.in + c);
                    } else {
                        UNROLL
                        for (int v = 0; v < V; v++) seen[i].of[v] = 0.0f;
                    }
                }
                UNROLL
                for (int dx = 0; dx < K; dx++) {
                    UNROLL
                    for (int v = 0; v < V; v++) {
                        const Four w = four(taps + (size_t)(dx * l.in + c + v) * l.wide);
                        UNROLL
                        for (int j = 0; j < 4; j++) {
                            const float value = seen[j * S + dx].of[v];
                            UNROLL
                            for (int k = 0; k < 4; k++) sum[j][k] += value * w.of[k];
                        }
                    }
                }
            }
        }
    }
    float* out = y + (size_t)(((rest * l.to[0] + slice) * l.to[1] + row) * l.to[2] + first) * l.out;
    UNROLL
    for (int j = 0; j < 4; j++) {
        if (first + j < l.to[2]) put(out + j * l.out, l, sum[j], channel);
    }
}

template <int K, int S>
__device__ static void convolve_any(const float* x, const float* weight, const float* bias, float* y, const LayerDims l) {
    if (l.in % 4 == 0) {
        convolve<K, S, 4>(x, weight, bias, y, l);
    } else if (l.in % 2 == 0) {
        convolve<K, S, 2>(x, weight, bias, y, l);
    } else {
        convolve<K, S, 1>(x, weight, bias, y, l);
    }
}

// 3x3x3, padded by 1.
extern "C" __global__ void layer_conv3(const float* x, const float* weight, const float* bias, float* y, const LayerDims* l) {
    convolve_any<3, 1>(x, weight, bias, y, *l);
}

// 3x3x3, padded by 1, every second voxel.
extern "C" __global__ void layer_down3(const float* x, const float* weight, const float* bias, float* y, const LayerDims* l) {
    convolve_any<3, 2>(x, weight, bias, y, *l);
}

// 1x1x1.
extern "C" __global__ void layer_conv1(const float* x, const float* weight, const float* bias, float* y, const LayerDims* l) {
    convolve_any<1, 1>(x, weight, bias, y, *l);
}

// 2x2x2, every second voxel: the gradient of the input of `layer_up2`.
extern "C" __global__ void layer_down2(const float* x, const float* weight, const float* bias, float* y, const LayerDims* l) {
    convolve_any<2, 2>(x, weight, bias, y, *l);
}

// The way back from every second voxel: what is written at p is read from v where p = 2 v + tap - padding. Each thread
// writes four channels of a voxel.
template <int K>
__device__ static void spread(const float* x, const float* weight, const float* bias, float* y, const LayerDims l) {
    const int PAD = K == 3 ? 1 : 0;
    int rest = thread_index();
    const int channel = 4 * taken(&rest, l.wide / 4), column = taken(&rest, l.to[2]);
    const int row = taken(&rest, l.to[1]), slice = taken(&rest, l.to[0]);
    if (rest >= l.volumes) return;
    float sum[4];
    for (int c = 0; c < 4; c++) sum[c] = l.biased && channel + c < l.out ? bias[channel + c] : 0.0f;
    for (int dz = (slice + PAD) % 2; dz < K && dz <= slice + PAD; dz += 2) {
        const int z = (slice + PAD - dz) / 2;
        if (z >= l.from[0]) continue;
        for (int dy = (row + PAD) % 2; dy < K && dy <= row + PAD; dy += 2) {
            const int at = (row + PAD - dy) / 2;
            if (at >= l.from[1]) continue;
            for (int dx = (column + PAD) % 2; dx < K && dx <= column + PAD; dx += 2) {
                const int from = (column + PAD - dx) / 2;
                if (from >= l.from[2]) continue;
                const float* seen = x + (size_t)(((rest * l.from[0] + z) * l.from[1] + at) * l.from[2] + from) * l.in;
                const float* taps = weight + (size_t)((dz * K + dy) * K + dx) * l.in * l.wide + channel;
                for (int c = 0; c < l.in; c++) {
                    const Four w = four(taps + (size_t)c * l.wide);
                    for (int k = 0; k < 4; k++) sum[k] += seen[c] * w.of[k];
                }
            }
        }
    }
    put(y + (size_t)(((rest * l.to[0] + slice) * l.to[1] + row) * l.to[2] + column) * l.out, l, sum, channel);
}

// 2x2x2, each voxel becomes eight.
extern "C" __global__ void layer_up2(const float* x, const float* weight, const float* bias, float* y, const LayerDims* l) {
    spread<2>(x, weight, bias, y, *l);
}

// The gradient of the input of `layer_down3`.
extern "C" __global__ void layer_up3(const float* x, const float* weight, const float* bias, float* y, const LayerDims* l) {
    spread<3>(x, weight, bias, y, *l);
}

// sums[chunk, out, in, tap] = the sum over voxels v of the coarser, in a chunk of its rows, of coarse[v, out] times
// fine[S v + tap - padding, in]. Each thread has one `in`, four `out`, and all taps.
template <int K, int S>
__device__ static void correlate(const float* fine, const float* coarse, float* sums, const LayerDims l) {
    const int PAD = K == 3 ? 1 : 0, LINES = K * K;
    int rest = thread_index();
    const int in = taken(&rest, l.in), first = 4 * taken(&rest, l.wide / 4);
    if (rest >= l.chunks) return;
    float sum[LINES][K][4];
    UNROLL
    for (int t = 0; t < LINES; t++) {
        UNROLL
        for (int dx = 0; dx < K; dx++) {
            UNROLL
            for (int k = 0; k < 4; k++) sum[t][dx][k] = 0.0f;
        }
    }
    const int all = l.volumes * l.to[0] * l.to[1], end = (rest + 1) * l.rows < all ? (rest + 1) * l.rows : all;
    for (int line = rest * l.rows; line < end; line++) {
        int place = line;
        const int row = taken(&place, l.to[1]), slice = taken(&place, l.to[0]);
        // Where the lines of the finer begin; -1 where there is none.
        int begin[LINES];
        UNROLL
        for (int t = 0; t < LINES; t++) {
            const int z = slice * S + t / K - PAD, at = row * S + t % K - PAD;
            const bool inside = z >= 0 && z < l.from[0] && at >= 0 && at < l.from[1];
            begin[t] = inside ? ((place * l.from[0] + z) * l.from[1] + at) * l.from[2] * l.in + in : -1;
        }
        float seen[LINES][K];
        UNROLL
        for (int t = 0; t < LINES; t++) {
            UNROLL
            for (int dx = 0; dx < K; dx++) seen[t][dx] = 0.0f;
            // What is one column ahead, where columns are shifted through.
            if (K == 3 && S == 1) seen[t][2] = begin[t] >= 0 ? fine[begin[t]] : 0.0f;
        }
        for (int column = 0; column < l.to[2]; column++) {
            const float* at = coarse + (size_t)(line * l.to[2] + column) * l.out + first;
            float value[4];
            if (l.out == l.wide) {
                const Four all_four = four(at);
                UNROLL
                for (int k = 0; k < 4; k++) value[k] = all_four.of[k];
            } else {
                UNROLL
                for (int k = 0; k < 4; k++) value[k] = first + k < l.out ? at[k] : 0.0f;
            }
            UNROLL
            for (int t = 0; t < LINES; t++) {
                if (K == 3 && S == 1) {
                    seen[t][0] = seen[t][1];
                    seen[t][1] = seen[t][2];
                }
                UNROLL
                for (int dx = K == 3 && S == 1 ? 2 : 0; dx < K; dx++) {
                    const int from = column * S + dx - PAD;
                    const bool inside = begin[t] >= 0 && from >= 0 && from < l.from[2];
                    seen[t][dx] = inside ? fine[begin[t] + from * l.in] : 0.0f;
                }
                UNROLL
                for (int dx = 0; dx < K; dx++) {
                    UNROLL
                    for (int k = 0; k < 4; k++) sum[t][dx][k] += seen[t][dx] * value[k];
                }
            }
        }
    }
    for (int k = 0; k < 4 && first + k < l.out; k++) {
        float* to = sums + (size_t)((rest * l.out + first + k) * l.in + in) * LINES * K;
        UNROLL
        for (int t = 0; t < LINES; t++) {
            UNROLL
            for (int dx = 0; dx < K; dx++) to[t * K + dx] = sum[t][dx][k];
        }
    }
}

extern "C" __global__ void weight_conv3(const float* fine, const float* coarse, float* sums, const LayerDims* l) {
    correlate<3, 1>(fine, coarse, sums, *l);
}

extern "C" __global__ void weight_down3(const float* fine, const float* coarse, float* sums, const LayerDims* l) {
    correlate<3, 2>(fine, coarse, sums, *l);
}

extern "C" __global__ void weight_conv1(const float* fine, const float* coarse, float* sums, const LayerDims* l) {
    correlate<1, 1>(fine, coarse, sums, *l);
}

extern "C" __global__ void weight_up2(const float* fine, const float* coarse, float* sums, const LayerDims* l) {
    correlate<2, 2>(fine, coarse, sums, *l);
}

// ---- gradients of the norm: network::extension::NormGradients --------------------------------------------------------

// Voxels of all volumes, channels, chunks of voxels and voxels of a chunk; channels last.
struct NormDims {
    int voxels, channels, chunks, chunk;
    int rectified, from_batch;
};

__device__ static float let_through(const float* y, const float* gradient, int i, const NormDims& n) {
    return n.rectified && y[i] <= 0.0f ? 0.0f : gradient[i];
}

// sums[chunk, 2, C]: of what the ReLU let through, and of that times the normalised input.
extern "C" __global__ void norm_sums(const float* x, const float* mean, const float* variance, const float* y,
                                     const float* gradient, float* sums, const NormDims* dims) {
    const NormDims n = *dims;
    int rest = thread_index();
    const int c = taken(&rest, n.channels);
    if (rest >= n.chunks) return;
    const float inverse = 1.0f / sqrtf(variance[c] + 1.0f / 131072.0f);
    float plain = 0.0f, times = 0.0f;
    const int end = (rest + 1) * n.chunk < n.voxels ? (rest + 1) * n.chunk : n.voxels;
    for (int voxel = rest * n.chunk; voxel < end; voxel++) {
        const int i = voxel * n.channels + c;
        const float g = let_through(y, gradient, i, n);
        plain += g;
        times += g * ((x[i] - mean[c]) * inverse);
    }
    sums[(2 * rest) * n.channels + c] = plain;
    sums[(2 * rest + 1) * n.channels + c] = times;
}

// The gradients of what was normalised and of what was added; `sums` is [2, C].
extern "C" __global__ void norm_gradient(const float* x, const float* mean, const float* variance, const float* gamma,
                                         const float* y, const float* gradient, const float* sums, float* of_x,
                                         float* of_add, const NormDims* dims) {
    const NormDims n = *dims;
    const int i = thread_index();
    if (i >= n.voxels * n.channels) return;
    const int c = i % n.channels;
    const float inverse = 1.0f / sqrtf(variance[c] + 1.0f / 131072.0f);
    const float g = let_through(y, gradient, i, n);
    float behind = g;
    if (n.from_batch) {
        const float normalised = (x[i] - mean[c]) * inverse;
        behind -= (sums[c] + normalised * sums[n.channels + c]) / (float)n.voxels;
    }
    of_x[i] = behind * (gamma[c] * inverse);
    of_add[i] = g;
}

// ---- exact Euclidean distance transform: distance::DistanceTransform ----------------------------------------------

// Squared steps, or more, to a class that is not on the line.
#define FAR_SQUARED 268435456
// The same in the result.
#define NOWHERE 2147483647

// Squared distance along x to the opposite class, negative inside.
extern "C" __global__ void distance_along(const byte* inside, int* field, int nx, int voxels) {
    const int i = thread_index();
    if (i >= voxels) return;
    const int x = i % nx;
    const byte* row = inside + (i - x);
    const int own = row[x] != 0;
    int found = FAR_SQUARED;
    for (int step = 1; step < nx; step++) {
        const int before = x - step, after = x + step;
        if ((before >= 0 && (row[before] != 0) != own) || (after < nx && (row[after] != 0) != own)) {
            found = step * step;
            break;
        }
    }
    field[i] = own ? -found : found;
}

// The least of value[j] + (i - j)^2 along an axis of `n` voxels that are `stride` apart.
extern "C" __global__ void distance_across(const int* from, int* to, int n, int stride, int voxels, int last) {
    const int i = thread_index();
    if (i >= voxels) return;
    const int at = i / stride % n;
    const int own = from[i];
    int least = own < 0 ? -own : own;
    for (int step = 1; step < n; step++) {
        const int squared = step * step;
        if (squared >= least) break;
        if (at >= step) {
            const int value = from[i - step * stride];
            // A voxel of the opposite class is itself the nearest.
            const int there = (value < 0) != (own < 0) ? 0 : value < 0 ? -value : value;
            least = there + squared < least ? there + squared : least;
        }
        if (at + step < n) {
            const int value = from[i + step * stride];
            const int there = (value < 0) != (own < 0) ? 0 : value < 0 ? -value : value;
            least = there + squared < least ? there + squared : least;
        }
    }
    if (last && least >= FAR_SQUARED) least = NOWHERE;
    to[i] = own < 0 ? -least : least;
}

// ---- a scan on the fine region: scan::Scan::resample -------------------------------------------------------------------

struct Resampled {
    // Of the affine's three upper rows, row by row.
    double voxel_from_patient[12];
    // Centre of the region's first voxel, and the distance between two.
    double origin[3];
    double spacing;
    int scan[3];
    int region[3];
    float background, reach, mean, deviation;
};

struct Corner {
    const float* data;
    int nx, ny, nz;
    float background;
};

__device__ static float voxel(const Corner& c, int i, int j, int k) {
    const int inside = i >= 0 && i < c.nx && j >= 0 && j < c.ny && k >= 0 && k < c.nz;
    return inside ? c.data[i + (size_t)c.nx * (j + (size_t)c.ny * k)] : c.background;
}

__device__ static float mix(float a, float b, float t) { return a + (b - a) * t; }

__device__ static float edge(const Corner& c, int i, int j, int k, float t) {
    return mix(voxel(c, i, j, k), voxel(c, i + 1, j, k), t);
}

extern "C" __global__ void resample(const float* data, float* z, byte* brain, Resampled r) {
    const int index = thread_index();
    const int nx = r.region[0], ny = r.region[1];
    if (index >= nx * ny * r.region[2]) return;
    const int at[3] = {index % nx, index / nx % ny, index / (nx * ny)};
    double patient[3];
    for (int a = 0; a < 3; a++) patient[a] = r.origin[a] + r.spacing * (double)at[a];
    const Corner c = {data, r.scan[0], r.scan[1], r.scan[2], r.background};
    int low[3], outside = 0;
    float part[3];
    for (int a = 0; a < 3; a++) {
        const double* row = r.voxel_from_patient + 4 * a;
        const double v = row[0] * patient[0] + row[1] * patient[1] + row[2] * patient[2] + row[3];
        outside |= !(v > -1.0 && v < (double)r.scan[a]);
        const double whole = outside ? 0.0 : floor(v);
        low[a] = (int)whole;
        part[a] = (float)(v - whole);
    }
    float value = r.background;
    if (!outside) {
        const int i = low[0], j = low[1], k = low[2];
        const float near = mix(edge(c, i, j, k, part[0]), edge(c, i, j + 1, k, part[0]), part[1]);
        const float far = mix(edge(c, i, j, k + 1, part[0]), edge(c, i, j + 1, k + 1, part[0]), part[1]);
        value = mix(near, far, part[2]);
    }
    brain[index] = fabsf(value - r.background) > r.reach;
    z[index] = (value - r.mean) / r.deviation;
}

// ---- what a picture says of the cavity's wall: align::evidence -----------------------------------------------------

struct Sighting {
    // Row by row.
    double camera_from_patient[12];
    double eye[3];
    double focal[2], centre[2];
    double origin[3];
    double spacing, tolerance;
    double shaft_start[3], shaft_end[3], shaft_radius;
    int has_shaft;
    int size[2], cells[2], region[3];
    int count;
    float half_voxel;
    float share_none, share_full, brightness_min, brightness_max;
};

// Edge of a depth cell, pixels.
#define CELL 4
// Where nothing is seen.
#define UNSEEN (-2.0f)

__device__ static void centre(const Sighting& s, int index, double patient[3]) {
    const int nx = s.region[0], ny = s.region[1];
    const int at[3] = {index % nx, index / nx % ny, index / (nx * ny)};
    for (int a = 0; a < 3; a++) patient[a] = s.origin[a] + s.spacing * (double)at[a];
}

__device__ static int own_cell(float pixel, int cells) {
    const int own = (int)roundf(pixel) / CELL;
    return own < cells - 1 ? own : cells - 1;
}

// The cells whose middle a voxel covers, and the one that its own middle is in: from [0] to before [1].
__device__ static void covered(float pixel, float half, int cells, int range[2]) {
    const float middle = 0.5f * ((float)CELL - 1.0f);
    const int own = own_cell(pixel, cells);
    const int low = (int)fmaxf(ceilf((pixel - half - middle) / (float)CELL), 0.0f);
    const int high = (int)fmaxf(floorf((pixel + half - middle) / (float)CELL) + 1.0f, 0.0f);
    range[0] = low < own ? low : own;
    range[1] = high < own + 1 ? own + 1 : high > cells ? cells : high;
}

extern "C" __global__ void clear_depth(unsigned* nearest, int cells) {
    const int i = thread_index();
    // The bits of infinity: those of floats above 0 are ordered as the floats are.
    if (i < cells) nearest[i] = 0x7f800000u;
}

// `projected`: u, v and depth of each voxel of the wall, a depth of 0 where it is not in the picture.
extern "C" __global__ void project(const unsigned* wall, float* projected, unsigned* nearest, Sighting s) {
    const int t = thread_index();
    if (t >= s.count) return;
    double p[3], q[3];
    centre(s, (int)wall[t], p);
    for (int a = 0; a < 3; a++) {
        const double* row = s.camera_from_patient + 4 * a;
        q[a] = row[0] * p[0] + row[1] * p[1] + row[2] * p[2] + row[3];
    }
    float* out = projected + 3 * t;
    out[2] = 0.0f;
    if (!(q[2] > 1e-6)) return;
    const float u = (float)(s.focal[0] * q[0] / q[2] + s.centre[0]), v = (float)(s.focal[1] * q[1] / q[2] + s.centre[1]);
    if (!(u >= 0.0f && v >= 0.0f && u < (float)s.size[0] - 0.5f && v < (float)s.size[1] - 0.5f)) return;
    out[0] = u;
    out[1] = v;
    out[2] = (float)q[2];
    const float half = s.half_voxel / out[2];
    int columns[2], rows[2];
    covered(out[0], half, s.cells[0], columns);
    covered(out[1], half, s.cells[1], rows);
    for (int row = rows[0]; row < rows[1]; row++) {
        for (int column = columns[0]; column < columns[1]; column++) {
            atomicMin(nearest + row * s.cells[0] + column, (unsigned)__float_as_int(out[2]));
        }
    }
}

__device__ static double dot(const double a[3], const double b[3]) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

__device__ static double clamped(double v) { return v < 0.0 ? 0.0 : v > 1.0 ? 1.0 : v; }

// Whether the shaft touches the segment from the eye to a point: align::evidence::Shaft::covers.
__device__ static int covers(const Sighting& s, const double at[3]) {
    double ray[3], axis[3], between[3];
    for (int i = 0; i < 3; i++) {
        ray[i] = at[i] - s.eye[i];
        axis[i] = s.shaft_end[i] - s.shaft_start[i];
        between[i] = s.eye[i] - s.shaft_start[i];
    }
    const double a = fmax(dot(ray, ray), 1e-12), b = dot(ray, axis), c = fmax(dot(axis, axis), 1e-12);
    const double d = dot(ray, between), e = dot(axis, between);
    const double parallel = a * c - b * b;
    double along = parallel > 1e-9 ? clamped((b * e - c * d) / parallel) : 0.0;
    const double down = clamped((b * along + e) / c);
    along = clamped((b * down - d) / a);
    double apart = 0.0;
    for (int i = 0; i < 3; i++) {
        const double gap = (s.eye[i] + ray[i] * along) - (s.shaft_start[i] + axis[i] * down);
        apart += gap * gap;
    }
    return apart < s.shaft_radius * s.shaft_radius;
}

// What a 3 x 3 window of the picture says: align::evidence::RedScale::read.
__device__ static float read(const Sighting& s, const byte* rgb, int u, int v) {
    const int left = u > 0 ? u - 1 : 0, right = u + 2 < s.size[0] ? u + 2 : s.size[0];
    const int top = v > 0 ? v - 1 : 0, bottom = v + 2 < s.size[1] ? v + 2 : s.size[1];
    unsigned red = 0, total = 0;
    for (int y = top; y < bottom; y++) {
        for (int x = left; x < right; x++) {
            const byte* pixel = rgb + 3 * (y * s.size[0] + x);
            red += pixel[0];
            total += (unsigned)pixel[0] + pixel[1] + pixel[2];
        }
    }
    const int pixels = (right - left) * (bottom - top);
    const float brightness = (float)total / (float)((pixels > 1 ? pixels : 1) * 3 * 255);
    if (!(brightness >= s.brightness_min && brightness <= s.brightness_max)) return UNSEEN;
    const float share = ((float)red / (float)total - s.share_none) / (s.share_full - s.share_none);
    return share < 0.0f ? 0.0f : share > 1.0f ? 1.0f : share;
}

// `seen`: of each voxel of the wall the scaled share of red, or UNSEEN.
extern "C" __global__ void look(const unsigned* wall, const float* projected, const unsigned* nearest, const byte* rgb,
                                float* seen, Sighting s) {
    const int t = thread_index();
    if (t >= s.count) return;
    seen[t] = UNSEEN;
    const float u = projected[3 * t], v = projected[3 * t + 1], depth = projected[3 * t + 2];
    if (depth <= 0.0f) return;
    const int column = (int)roundf(u), row = (int)roundf(v);
    const float before = __int_as_float((int)nearest[column / CELL + s.cells[0] * (row / CELL)]);
    if ((double)depth > (double)before + s.tolerance) return;
    double patient[3];
    centre(s, (int)wall[t], patient);
    if (s.has_shaft && covers(s, patient)) return;
    seen[t] = read(s, rgb, column, row);
}
