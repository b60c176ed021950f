// Tokens through a Llama text model: the native way of vlmchat to write answers on a CPU.
//
// Compiled on first use by building.py, called through ctypes by library.py. Nothing is kept
// outside the objects that `vlmchat_team` and `vlmchat_decoder` return, so that any number of
// them can work at once. Reading a model's weights takes nearly all of the time, so they are read
// once, in the order in which they lie, in as few bits as asked for, and ahead of their use; and
// where several answers are written at the same time, once for a token of each.
//
// Sources of the model: arXiv:2302.13971 (Llama), arXiv:1910.07467 (RMS norm), arXiv:2104.09864
// (rotary embedding), arXiv:2002.05202 (SwiGLU), arXiv:2305.13245 (grouped heads).

#include <algorithm>
#include <cmath>
#include <exception>
#include <vector>

#include "attention.h"
#include "matrix.h"
#include "simd.h"
#include "team.h"

namespace {

constexpr int kVersion = 3;   // of the functions and structures at the end of this file
constexpr int kTokens = 512;  // that a chunk of attention reads at most
constexpr int kShares = 4;    // chunks for each thread, so that a slow one is given less
constexpr int kPieces = 8;    // of a layer's attention; sums of other pieces have other last bits
constexpr int kMost = 16;     // tokens that are read at a time

struct Shape {
    int32_t layers, hidden, heads, kv_heads, head_dim, ffn, vocab, positions;
    float eps;
};

struct Layer {
    const float *input_norm, *ffn_norm;
    Matrix qkv, output, gate_up, down;
};

struct Token {
    const void* embedding;  // hidden
    void* cache;            // (layers, 2, kv_heads, capacity, head_dim)
    float* logits;          // vocab, or null where nobody asks for them
    int32_t capacity, position;
    int32_t bits, embedding_bits;  // of the cache and of the embedding: 16 or 32
};

// The phases of a layer; the head follows the last layer as one more.
enum Phase { kQkv, kAttention, kOutput, kGateUp, kDown, kPhases };

// What is known of one token on its way through the layers.
struct Lane {
    Token token{};
    std::vector<float> stream;  // what the layers add to
    std::vector<float> inner;   // normalized, or inside the feed-forward layer
    std::vector<float> qkv, queries, attended, partial, stats;
    Activation input;
    int piece = 0, pieces = 0;

    Lane(const Shape& shape, int outputs)
        : stream(shape.hidden),
          inner(std::max(shape.hidden, shape.ffn)),
          qkv(outputs),
          queries(shape.heads * shape.head_dim),
          attended(shape.heads * shape.head_dim),
          input(std::max({shape.hidden, shape.ffn, shape.heads * shape.head_dim})) {}

    void begin(const Token& read, const Shape& shape) {
        token = read;
        for (int i = 0; i < shape.hidden; i += W)
            store(&stream[i], token.embedding_bits == 16
                                  ? load(static_cast<const bf16*>(token.embedding) + i)
                                  : load(static_cast<const float*>(token.embedding) + i));
        // Attention is shared by heads and by pieces of the tokens, the same ones for any number
        // of threads: the same question is to have the same answer on a busy machine, too.
        const int tokens = token.position + 1;
        const int wanted = (kPieces + shape.kv_heads - 1) / shape.kv_heads;
        piece = std::clamp((tokens + wanted - 1) / wanted, 64, kTokens);
        piece = (piece + W - 1) / W * W;
        pieces = (tokens + piece - 1) / piece;
        partial.resize(pieces * attended.size());
        stats.resize(static_cast<size_t>(pieces) * shape.heads * 2);
    }

    // Where the keys (part 0) or the values (part 1) of a head are, from a token on.
    template <class T>
    T* cached(const Shape& shape, int layer, int part, int head, int from) const {
        const size_t index = (static_cast<size_t>(layer) * 2 + part) * shape.kv_heads + head;
        return static_cast<T*>(token.cache) + (index * token.capacity + from) * shape.head_dim;
    }
};

class Decoder final : public Work {
  public:
    Decoder(Team& team, const Shape& shape, const Layer* layers, const Matrix& head,
            const float* final_norm, const float* cos, const float* sin)
        : team_(team),
          shape_(shape),
          layers_(layers, layers + shape.layers),
          head_(head),
          final_norm_(final_norm),
          cos_(cos),
          sin_(sin),
          queries_per_key_(shape.heads / shape.kv_heads) {}

    // Read tokens, at most kMost: of different sequences, or one behind the other, as in each layer
    // all keys and values are in the caches before anybody attends to them.
    void step(const Token* tokens, int count) {
        while (static_cast<int>(lanes_.size()) < count)
            lanes_.emplace_back(shape_, layers_[0].qkv.blocks() * kBlock);
        count_ = count;
        asked_ = 0;
        for (int n = 0; n < count; n++) {
            lanes_[n].begin(tokens[n], shape_);
            inputs_[n] = &lanes_[n].input;
            if (tokens[n].logits == nullptr) continue;
            asked_inputs_[asked_] = inputs_[n];
            logits_[asked_++] = tokens[n].logits;
        }
        threads_ = team_.size();
        shares_ = threads_ == 1 ? 1 : std::min(threads_ * kShares, kChunks);
        scores_.resize(static_cast<size_t>(threads_) * kQueries * kTokens);
        team_.run(*this);
    }

    // Each phase has small things to be done before it: for one token by whichever thread was the
    // last to finish, for several as a phase of their own, in which each token is a chunk.
    int open(int phase) override {
        const Place at = place(phase);
        if (at.layer == shape_.layers && (at.kind > 0 || asked_ == 0)) return 0;
        if (at.before) return count_;
        if (count_ == 1) prepare(lanes_[0], at.layer, at.kind);
        return chunks(at.layer, at.kind);
    }

    void chunk(int phase, int index, int thread) override {
        const Place at = place(phase);
        if (at.before) return prepare(lanes_[index], at.layer, at.kind);
        const int all = blocks(at.layer, at.kind), count = std::min(all, shares_);
        const int end = first_chunk(index + 1, count, all);
        for (int i = first_chunk(index, count, all); i < end; i++) {
            if (at.layer == shape_.layers || at.kind != kAttention)
                multiply_block(at.layer, at.kind, i);
            else
                attend_block(at.layer, i, thread);
        }
    }

  private:
    struct Place {
        int layer, kind;
        bool before;
    };

    Place place(int phase) const {
        const int each = count_ == 1 ? 1 : 2, at = phase / each;
        return {at / kPhases, at % kPhases, each == 2 && phase % 2 == 0};
    }

    int chunks(int layer, int kind) const { return std::min(blocks(layer, kind), shares_); }

    const Matrix& matrix(int layer, int kind) const {
        if (layer == shape_.layers) return head_;
        switch (kind) {
            case kQkv: return layers_[layer].qkv;
            case kOutput: return layers_[layer].output;
            case kGateUp: return layers_[layer].gate_up;
            default: return layers_[layer].down;
        }
    }

    // The parts of a phase, which chunks are made of.
    int blocks(int layer, int kind) const {
        if (layer < shape_.layers && kind == kAttention) {
            int pieces = 0;
            for (int n = 0; n < count_; n++) pieces += lanes_[n].pieces;
            return pieces * shape_.kv_heads;
        }
        if (layer < shape_.layers && kind == kGateUp) return shape_.ffn / kBlock;
        return matrix(layer, kind).blocks();
    }

    void prepare(Lane& lane, int index, int kind) const {
        if (index == shape_.layers) {
            if (lane.token.logits != nullptr) normalize(lane, final_norm_, head_);
            return;
        }
        const Layer& layer = layers_[index];
        const bool small = lane.token.bits == 16;
        switch (kind) {
            case kQkv: return normalize(lane, layer.input_norm, layer.qkv);
            case kAttention:
                return small ? remember<bf16>(lane, index) : remember<float>(lane, index);
            case kOutput:
                small ? merge<bf16>(lane) : merge<float>(lane);
                return lane.input.take(lane.attended.data(), layer.output.columns,
                                       layer.output.bits);
            case kGateUp: return normalize(lane, layer.ffn_norm, layer.gate_up);
            default:
                lane.input.take(lane.inner.data(), layer.down.columns, layer.down.bits);
        }
    }

    void multiply_block(int layer, int kind, int block) {
        float x[kMost][kBlock], up[kMost][kBlock];
        float *out[kMost], *more[kMost];
        const int at = block * kBlock;
        const bool last = layer == shape_.layers;
        for (int n = 0; n < count_; n++) {
            out[n] = !last && kind == kQkv ? &lanes_[n].qkv[at] : x[n];
            more[n] = up[n];
        }
        const Matrix& weights = matrix(layer, kind);
        multiply(weights, last ? asked_inputs_ : inputs_, last ? asked_ : count_, block, out);
        if (last) {
            for (int n = 0; n < asked_; n++)
                std::copy_n(x[n], std::min(kBlock, shape_.vocab - at), logits_[n] + at);
        } else if (kind == kGateUp) {
            multiply(weights, inputs_, count_, block + shape_.ffn / kBlock, more);
            for (int n = 0; n < count_; n++)
                for (int i = 0; i < kBlock; i += W) {
                    const F gate = load(x[n] + i);
                    store(&lanes_[n].inner[at + i],
                          gate / (all(1) + exponential(-gate)) * load(up[n] + i));
                }
        } else if (kind != kQkv) {
            for (int n = 0; n < count_; n++) {
                float* to = &lanes_[n].stream[at];
                for (int i = 0; i < kBlock; i += W) store(to + i, load(to + i) + load(x[n] + i));
            }
        }
    }

    void attend_block(int layer, int index, int thread) {
        int n = 0;
        for (; index >= lanes_[n].pieces * shape_.kv_heads; n++)
            index -= lanes_[n].pieces * shape_.kv_heads;
        Lane& lane = lanes_[n];
        lane.token.bits == 16 ? attend_piece<bf16>(lane, layer, index, thread)
                              : attend_piece<float>(lane, layer, index, thread);
    }

    void normalize(Lane& lane, const float* weights, const Matrix& matrix) const {
        F squares = all(0);
        for (int i = 0; i < shape_.hidden; i += W)
            squares = squares + load(&lane.stream[i]) * load(&lane.stream[i]);
        const F by = all(1 / std::sqrt(sum_of(squares) / shape_.hidden + shape_.eps));
        for (int i = 0; i < shape_.hidden; i += W)
            store(&lane.inner[i], load(&lane.stream[i]) * by * load(weights + i));
        lane.input.take(lane.inner.data(), matrix.columns, matrix.bits);
    }

    void rotate(float* x, int position) const {
        const int half = shape_.head_dim / 2;
        const float* cos = cos_ + static_cast<size_t>(position) * half;
        const float* sin = sin_ + static_cast<size_t>(position) * half;
        for (int i = 0; i < half; i += W) {
            const F c = load(cos + i), s = load(sin + i), a = load(x + i), b = load(x + half + i);
            store(x + i, a * c - b * s);
            store(x + half + i, b * c + a * s);
        }
    }

    // Rotate queries and keys, and put keys and values into the cache.
    template <class T>
    void remember(Lane& lane, int layer) const {
        const int dim = shape_.head_dim, position = lane.token.position;
        const F scale = all(1 / std::sqrt(static_cast<float>(dim)));
        float* x = lane.qkv.data();
        for (int h = 0; h < shape_.heads; h++, x += dim) {
            rotate(x, position);
            for (int i = 0; i < dim; i += W) store(x + i, load(x + i) * scale);
            arrange(x, &lane.queries[h * dim], dim, T());
        }
        for (int part = 0; part < 2; part++)
            for (int h = 0; h < shape_.kv_heads; h++, x += dim) {
                if (part == 0) rotate(x, position);
                T* to = lane.cached<T>(shape_, layer, part, h, position);
                for (int i = 0; i < dim; i += W) store(to + i, load(x + i));
            }
    }

    template <class T>
    void attend_piece(Lane& lane, int layer, int index, int thread) {
        const int dim = shape_.head_dim, piece = index % lane.pieces;
        const int head = index / lane.pieces, query = head * queries_per_key_;
        const int from = piece * lane.piece;
        const int count = std::min(lane.piece, lane.token.position + 1 - from);
        const auto heads = dim == 64 ? attend_heads<T, 64> : attend_heads<T, 32>;
        heads(queries_per_key_, lane.cached<T>(shape_, layer, 0, head, from),
              lane.cached<T>(shape_, layer, 1, head, from), count, &lane.queries[query * dim],
              &scores_[static_cast<size_t>(thread) * kQueries * kTokens], kTokens,
              &lane.partial[piece * lane.attended.size() + query * dim],
              &lane.stats[(static_cast<size_t>(piece) * shape_.heads + query) * 2]);
    }

    // Put the pieces of attention together.
    template <class T>
    void merge(Lane& lane) const {
        const int dim = shape_.head_dim;
        for (int h = 0; h < shape_.heads; h++) {
            float most = -INFINITY, total = 0;
            for (int p = 0; p < lane.pieces; p++)
                most = std::max(most, lane.stats[(p * shape_.heads + h) * 2]);
            float* sum = &lane.queries[h * dim];  // not needed any more
            std::fill_n(sum, dim, 0.0f);
            for (int p = 0; p < lane.pieces; p++) {
                const float* stats = &lane.stats[(p * shape_.heads + h) * 2];
                const float weight = std::exp(stats[0] - most);
                total += weight * stats[1];
                const float* part = &lane.partial[p * lane.attended.size() + h * dim];
                for (int i = 0; i < dim; i += W)
                    store(sum + i, load(sum + i) + load(part + i) * all(weight));
            }
            for (int i = 0; i < dim; i += W) store(sum + i, load(sum + i) * all(1 / total));
            restore(sum, &lane.attended[h * dim], dim, T());
        }
    }

    Team& team_;
    const Shape shape_;
    const std::vector<Layer> layers_;
    const Matrix head_;
    const float *final_norm_, *cos_, *sin_;
    const int queries_per_key_;
    std::vector<Lane> lanes_;
    const Activation *inputs_[kMost] = {}, *asked_inputs_[kMost] = {};
    float* logits_[kMost] = {};  // of those tokens of which they are asked for
    std::vector<float> scores_;
    int count_ = 0, asked_ = 0, threads_ = 1, shares_ = 1;
};

// A matrix times one vector.
struct Product final : Work {
    const Matrix& matrix;
    Activation x;
    float* out;
    const int chunks;

    Product(const Matrix& matrix, const float* values, float* out)
        : matrix(matrix), x(matrix.columns), out(out), chunks(std::min(matrix.blocks(), kChunks)) {
        x.take(values, matrix.columns, matrix.bits);
    }

    int open(int phase) override { return phase == 0 ? chunks : 0; }

    void chunk(int, int index, int) override {
        float sums[kBlock];
        const int end = first_chunk(index + 1, chunks, matrix.blocks());
        for (int block = first_chunk(index, chunks, matrix.blocks()); block < end; block++) {
            const int at = block * kBlock;
            const Activation* input = &x;
            float* to = sums;
            multiply(matrix, &input, 1, block, &to);
            std::copy_n(sums, std::min(kBlock, matrix.rows - at), out + at);
        }
    }
};

bool fits(const Matrix& matrix, int rows, int columns) {
    const int bits = matrix.bits;
    return (bits == 4 || bits == 8 || bits == 16 || bits == 32) && matrix.rows == rows &&
           matrix.columns == columns && columns % kGroup == 0;
}

// Return whether the sizes agree with each other and with what is written above.
bool supported(const Shape& shape, const Layer* layers, const Matrix& head) {
    if (shape.layers < 1 || shape.kv_heads < 1 || shape.heads % shape.kv_heads != 0) return false;
    if (shape.head_dim != 64 && shape.head_dim != 32) return false;
    const int queries = shape.heads * shape.head_dim, keys = shape.kv_heads * shape.head_dim;
    for (int i = 0; i < shape.layers; i++) {
        const Layer& layer = layers[i];
        if (!fits(layer.qkv, queries + 2 * keys, shape.hidden) ||
            !fits(layer.output, shape.hidden, queries) ||
            !fits(layer.gate_up, 2 * shape.ffn, shape.hidden) ||
            !fits(layer.down, shape.hidden, shape.ffn))
            return false;
    }
    return fits(head, shape.vocab, shape.hidden);
}

template <class T>
void convert(Team* team, void* dense, uint8_t* packed, int rows, int columns, int bits, bool pack) {
    Packing<T> packing(static_cast<T*>(dense), packed, rows, columns, bits, pack);
    team->run(packing);
}

}  // namespace

// What Python calls; the structures are mirrored in library.py.

#define EXPORTED extern "C" __attribute__((visibility("default")))

EXPORTED int32_t vlmchat_version() { return kVersion; }

EXPORTED const char* vlmchat_variant() { return kVariant; }

EXPORTED void* vlmchat_team() {
    try {
        return new Team;
    } catch (const std::exception&) {
        return nullptr;
    }
}

EXPORTED void vlmchat_team_free(void* team) { delete static_cast<Team*>(team); }

// Return how many threads there are now, which may be fewer than wanted.
EXPORTED int32_t vlmchat_team_resize(void* team, int32_t threads) {
    return static_cast<Team*>(team)->resize(threads);
}

// Return how many bytes a packed matrix takes, or -1 if it cannot be packed.
EXPORTED int64_t vlmchat_packed_bytes(int32_t rows, int32_t columns, int32_t bits) {
    if ((bits != 4 && bits != 8) || rows < 1 || columns < 1 || columns % kGroup != 0) return -1;
    return static_cast<int64_t>((rows + kBlock - 1) / kBlock) * (columns / kGroup) *
           record_bytes(bits);
}

// Pack dense rows of bf16 (dense_bits 16) or float (32), or get them back (pack 0).
EXPORTED void vlmchat_convert(void* team, void* dense, int32_t dense_bits, void* packed,
                              int32_t rows, int32_t columns, int32_t bits, int32_t pack) {
    const auto with = dense_bits == 16 ? convert<bf16> : convert<float>;
    with(static_cast<Team*>(team), dense, static_cast<uint8_t*>(packed), rows, columns, bits,
         pack != 0);
}

// Multiply a matrix with a vector of floats. Return 0, or -1 if there is not enough memory.
EXPORTED int32_t vlmchat_multiply(void* team, const Matrix* matrix, const float* x, float* out) {
    try {
        Product product(*matrix, x, out);
        static_cast<Team*>(team)->run(product);
        return 0;
    } catch (const std::exception&) {
        return -1;
    }
}

// Return a decoder, which reads the weights where they are; null if it does not know the shape.
EXPORTED void* vlmchat_decoder(void* team, const Shape* shape, const Layer* layers,
                               const Matrix* head, const float* final_norm, const float* cos,
                               const float* sin) {
    if (!supported(*shape, layers, *head)) return nullptr;
    try {
        return new Decoder(*static_cast<Team*>(team), *shape, layers, *head, final_norm, cos, sin);
    } catch (const std::exception&) {
        return nullptr;
    }
}

EXPORTED void vlmchat_decoder_free(void* decoder) { delete static_cast<Decoder*>(decoder); }

// Read `count` tokens, of different sequences or one behind the other: their keys and values go into
// their caches, their logits to where they are wanted, if they are. Return 0, -1 if there is not enough memory, or -2 if there are
// too many.
EXPORTED int32_t vlmchat_step(void* decoder, const Token* tokens, int32_t count) {
    if (count < 1 || count > kMost) return -2;
    try {
        static_cast<Decoder*>(decoder)->step(tokens, count);
        return 0;
    } catch (const std::exception&) {
        return -1;
    }
}
