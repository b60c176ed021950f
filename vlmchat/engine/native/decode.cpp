// One token through a Llama text model: the native way of vlmchat to write an answer on a CPU.
//
// Compiled on first use by building.py, called through ctypes by library.py. Nothing is kept
// outside the objects that `vlmchat_team` and `vlmchat_decoder` return, so that any number of
// them can work at once. Reading a model's weights takes nearly all of the time, so they are read
// once, in the order in which they lie, in as few bits as asked for, and ahead of their use.
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

constexpr int kVersion = 1;   // of the functions and structures at the end of this file
constexpr int kTokens = 512;  // that a chunk of attention reads at most
constexpr int kShares = 4;    // chunks for each thread, so that a slow one is given less

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
    float* logits;          // vocab
    int32_t capacity, position;
    int32_t bits, embedding_bits;  // of the cache and of the embedding: 16 or 32
};

// The phases of a layer; the head follows the last layer as one more.
enum Phase { kQkv, kAttention, kOutput, kGateUp, kDown, kPhases };

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
          queries_per_key_(shape.heads / shape.kv_heads),
          stream_(shape.hidden),
          inner_(std::max(shape.hidden, shape.ffn)),
          qkv_(layers_[0].qkv.blocks() * kBlock),
          queries_(shape.heads * shape.head_dim),
          attended_(shape.heads * shape.head_dim),
          input_(std::max({shape.hidden, shape.ffn, shape.heads * shape.head_dim})) {}

    void step(const Token& token) {
        token_ = token;
        for (int i = 0; i < shape_.hidden; i += W)
            store(&stream_[i], token.embedding_bits == 16
                                   ? load(static_cast<const bf16*>(token.embedding) + i)
                                   : load(static_cast<const float*>(token.embedding) + i));
        threads_ = team_.size();
        shares_ = threads_ == 1 ? 1 : std::min(threads_ * kShares, kChunks);
        // Attention is shared by heads and by pieces of the tokens.
        const int tokens = token.position + 1;
        const int wanted = (shares_ + shape_.kv_heads - 1) / shape_.kv_heads;
        piece_ = std::clamp((tokens + wanted - 1) / wanted, 64, kTokens);
        piece_ = (piece_ + W - 1) / W * W;
        pieces_ = (tokens + piece_ - 1) / piece_;
        partial_.resize(pieces_ * attended_.size());
        stats_.resize(static_cast<size_t>(pieces_) * shape_.heads * 2);
        scores_.resize(static_cast<size_t>(threads_) * kQueries * kTokens);
        team_.run(*this);
    }

    // The small things between the matrices, by whichever thread was the last to finish.
    int open(int phase) override {
        const int index = phase / kPhases, kind = phase % kPhases;
        if (index == shape_.layers) {
            if (kind > 0) return 0;
            normalize(final_norm_, head_);
            return chunks(index, kind);
        }
        const Layer& layer = layers_[index];
        switch (kind) {
            case kQkv: normalize(layer.input_norm, layer.qkv); break;
            case kAttention:
                token_.bits == 16 ? remember<bf16>(index) : remember<float>(index);
                break;
            case kOutput:
                token_.bits == 16 ? merge<bf16>() : merge<float>();
                input_.take(attended_.data(), layer.output.columns, layer.output.bits);
                break;
            case kGateUp: normalize(layer.ffn_norm, layer.gate_up); break;
            default: input_.take(inner_.data(), layer.down.columns, layer.down.bits);
        }
        return chunks(index, kind);
    }

    void chunk(int phase, int index, int thread) override {
        const int layer = phase / kPhases, kind = phase % kPhases, count = chunks(layer, kind);
        const int end = first_chunk(index + 1, count, blocks(layer, kind));
        for (int i = first_chunk(index, count, blocks(layer, kind)); i < end; i++) {
            if (layer == shape_.layers || kind != kAttention)
                multiply_block(layer, kind, i);
            else
                token_.bits == 16 ? attend_piece<bf16>(layer, i, thread)
                                  : attend_piece<float>(layer, i, thread);
        }
    }

  private:
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
        if (layer < shape_.layers && kind == kAttention) return pieces_ * shape_.kv_heads;
        if (layer < shape_.layers && kind == kGateUp) return shape_.ffn / kBlock;
        return matrix(layer, kind).blocks();
    }

    void multiply_block(int layer, int kind, int block) {
        float x[kBlock], up[kBlock];
        const int at = block * kBlock;
        if (layer == shape_.layers) {
            multiply(head_, input_, block, x);
            std::copy_n(x, std::min(kBlock, shape_.vocab - at), token_.logits + at);
            return;
        }
        const Layer& weights = layers_[layer];
        if (kind == kQkv) {
            multiply(weights.qkv, input_, block, &qkv_[at]);
        } else if (kind == kGateUp) {
            multiply(weights.gate_up, input_, block, x);
            multiply(weights.gate_up, input_, block + shape_.ffn / kBlock, up);
            for (int i = 0; i < kBlock; i += W) {
                const F gate = load(x + i);
                store(&inner_[at + i], gate / (all(1) + exponential(-gate)) * load(up + i));
            }
        } else {
            multiply(kind == kOutput ? weights.output : weights.down, input_, block, x);
            for (int i = 0; i < kBlock; i += W)
                store(&stream_[at + i], load(&stream_[at + i]) + load(x + i));
        }
    }

    void normalize(const float* weights, const Matrix& matrix) {
        F squares = all(0);
        for (int i = 0; i < shape_.hidden; i += W)
            squares = squares + load(&stream_[i]) * load(&stream_[i]);
        const F by = all(1 / std::sqrt(sum_of(squares) / shape_.hidden + shape_.eps));
        for (int i = 0; i < shape_.hidden; i += W)
            store(&inner_[i], load(&stream_[i]) * by * load(weights + i));
        input_.take(inner_.data(), matrix.columns, matrix.bits);
    }

    // Where the keys (part 0) or the values (part 1) of a head are, from a token on.
    template <class T>
    T* cached(int layer, int part, int head, int token) const {
        const size_t index = (static_cast<size_t>(layer) * 2 + part) * shape_.kv_heads + head;
        return static_cast<T*>(token_.cache) +
               (index * token_.capacity + token) * shape_.head_dim;
    }

    void rotate(float* x) const {
        const int half = shape_.head_dim / 2;
        const float* cos = cos_ + static_cast<size_t>(token_.position) * half;
        const float* sin = sin_ + static_cast<size_t>(token_.position) * half;
        for (int i = 0; i < half; i += W) {
            const F c = load(cos + i), s = load(sin + i), a = load(x + i), b = load(x + half + i);
            store(x + i, a * c - b * s);
            store(x + half + i, b * c + a * s);
        }
    }

    // Rotate queries and keys, and put keys and values into the cache.
    template <class T>
    void remember(int layer) {
        const int dim = shape_.head_dim;
        const F scale = all(1 / std::sqrt(static_cast<float>(dim)));
        float* x = qkv_.data();
        for (int h = 0; h < shape_.heads; h++, x += dim) {
            rotate(x);
            for (int i = 0; i < dim; i += W) store(x + i, load(x + i) * scale);
            arrange(x, &queries_[h * dim], dim, T());
        }
        for (int part = 0; part < 2; part++)
            for (int h = 0; h < shape_.kv_heads; h++, x += dim) {
                if (part == 0) rotate(x);
                T* to = cached<T>(layer, part, h, token_.position);
                for (int i = 0; i < dim; i += W) store(to + i, load(x + i));
            }
    }

    template <class T>
    void attend_piece(int layer, int index, int thread) {
        const int dim = shape_.head_dim, piece = index % pieces_;
        const int head = index / pieces_, query = head * queries_per_key_;
        const int from = piece * piece_, count = std::min(piece_, token_.position + 1 - from);
        const auto heads = dim == 64 ? attend_heads<T, 64> : attend_heads<T, 32>;
        heads(queries_per_key_, cached<T>(layer, 0, head, from), cached<T>(layer, 1, head, from),
              count, &queries_[query * dim],
              &scores_[static_cast<size_t>(thread) * kQueries * kTokens], kTokens,
              &partial_[piece * attended_.size() + query * dim],
              &stats_[(static_cast<size_t>(piece) * shape_.heads + query) * 2]);
    }

    // Put the pieces of attention together.
    template <class T>
    void merge() {
        const int dim = shape_.head_dim;
        for (int h = 0; h < shape_.heads; h++) {
            float most = -INFINITY, total = 0;
            for (int p = 0; p < pieces_; p++)
                most = std::max(most, stats_[(p * shape_.heads + h) * 2]);
            float* sum = &queries_[h * dim];  // not needed any more
            std::fill_n(sum, dim, 0.0f);
            for (int p = 0; p < pieces_; p++) {
                const float* stats = &stats_[(p * shape_.heads + h) * 2];
                const float weight = std::exp(stats[0] - most);
                total += weight * stats[1];
                const float* part = &partial_[p * attended_.size() + h * dim];
                for (int i = 0; i < dim; i += W)
                    store(sum + i, load(sum + i) + load(part + i) * all(weight));
            }
            for (int i = 0; i < dim; i += W) store(sum + i, load(sum + i) * all(1 / total));
            restore(sum, &attended_[h * dim], dim, T());
        }
    }

    Team& team_;
    const Shape shape_;
    const std::vector<Layer> layers_;
    const Matrix head_;
    const float *final_norm_, *cos_, *sin_;
    const int queries_per_key_;
    std::vector<float> stream_;  // what the layers add to
    std::vector<float> inner_;   // normalized, or inside the feed-forward layer
    std::vector<float> qkv_, queries_, attended_, partial_, stats_, scores_;
    Activation input_;
    Token token_{};
    int threads_ = 1, shares_ = 1, piece_ = 0, pieces_ = 0;
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
            multiply(matrix, x, block, sums);
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

// Read a token: its keys and values go into the cache, its logits to where they are wanted.
// Return 0, or -1 if there is not enough memory.
EXPORTED int32_t vlmchat_step(void* decoder, const Token* token) {
    try {
        static_cast<Decoder*>(decoder)->step(*token);
        return 0;
    } catch (const std::exception&) {
        return -1;
    }
}
