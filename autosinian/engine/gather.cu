// Gathers the samples of a batch, each from an address of its own, into one contiguous buffer.
//
// An address may lie in device memory or in pinned host memory, which is then read over the bus
// without a copy by the host. `addresses` is itself pinned: the host writes it for each batch, so
// that a captured graph serves every batch. Address 0 leaves a sample's place as it is.

template <typename Word>
__device__ __forceinline__ void copy(
    const void* __restrict__ from, void* __restrict__ to, unsigned long long bytes)
{
    const Word* source = static_cast<const Word*>(from);
    Word* target = static_cast<Word*>(to);
    const unsigned words = bytes / sizeof(Word);
    const unsigned stride = gridDim.x * blockDim.x;
    unsigned at = blockIdx.x * blockDim.x + threadIdx.x;
    // Four loads in flight a thread: the bus answers late.
    for (; at + 3 * stride < words; at += 4 * stride) {
        const Word a = source[at];
        const Word b = source[at + stride];
        const Word c = source[at + 2 * stride];
        const Word d = source[at + 3 * stride];
        target[at] = a;
        target[at + stride] = b;
        target[at + 2 * stride] = c;
        target[at + 3 * stride] = d;
    }
    for (; at < words; at += stride) {
        target[at] = source[at];
    }
}

// `bytes` is one sample's size; every address and `out` are multiples of `bytes`' largest power of
// two up to 16. Blocks along y share the samples, blocks along x the bytes of one.
extern "C" __global__ void gather(
    const unsigned long long* addresses, unsigned char* out, unsigned long long bytes, unsigned rows)
{
    for (unsigned row = blockIdx.y; row < rows; row += gridDim.y) {
        const void* from = reinterpret_cast<const void*>(addresses[row]);
        void* to = out + row * bytes;
        if (from == nullptr) {
            continue;
        }
        if (bytes % 16 == 0) {
            copy<uint4>(from, to, bytes);
        } else if (bytes % 4 == 0) {
            copy<unsigned>(from, to, bytes);
        } else {
            copy<unsigned char>(from, to, bytes);
        }
    }
}
