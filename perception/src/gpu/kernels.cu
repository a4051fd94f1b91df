// Kernels for CUDA, without any header: NVRTC compiles them for a GPU, and a C++ compiler, behind the shim of the
// tests, for the processor, where each is run against its Rust twin. So no thread may wait for another one.
//
// Shapes: [D, H, W], x fastest. Units: mm, pixels, voxels. Rounding: without contraction to fused operations
// (--fmad=false) every kernel but `norm_activation` does its twin's operations in its twin's order.

typedef unsigned char byte;

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
