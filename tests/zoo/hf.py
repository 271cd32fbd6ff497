"""Hugging Face models from small configurations: nothing is downloaded."""

import torch
import transformers as tf

from tests.zoo.entry import Entry

VOCABULARY = 53


def tokens(length: int = 9) -> torch.Tensor:
    return torch.randint(2, VOCABULARY, (2, length), generator=torch.Generator().manual_seed(0))


def llama_like(config: type, model: type, **fixed):
    """width = heads x 8, depth = blocks."""

    def build(heads: int, depth: int):
        options = {
            "vocab_size": VOCABULARY,
            "hidden_size": 8 * heads,
            "intermediate_size": 24 * heads,
            "num_hidden_layers": depth,
            "num_attention_heads": heads,
            "num_key_value_heads": heads // 2,
            "head_dim": 8,
            "max_position_embeddings": 32,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 1,
            **fixed,
        }
        return model(config(**options))

    return build


SIZES = {"base": {"heads": 4, "depth": 2}, "target": {"heads": 8, "depth": 4}}


def gpt2(heads: int, depth: int):
    config = tf.GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=8 * heads,
        n_head=heads,
        n_layer=depth,
        n_positions=32,
        bos_token_id=1,
        eos_token_id=1,
    )
    return tf.GPT2LMHeadModel(config)


def neox(heads: int, depth: int):
    return tf.GPTNeoXForCausalLM(
        tf.GPTNeoXConfig(
            vocab_size=VOCABULARY,
            hidden_size=8 * heads,
            num_attention_heads=heads,
            num_hidden_layers=depth,
            intermediate_size=32 * heads,
            max_position_embeddings=32,
            bos_token_id=1,
            eos_token_id=1,
        )
    )


def mamba(heads: int, depth: int):
    return tf.MambaForCausalLM(
        tf.MambaConfig(
            vocab_size=VOCABULARY, hidden_size=8 * heads, num_hidden_layers=depth, state_size=4, time_step_rank=4
        )
    )


def bert(heads: int, depth: int):
    return tf.BertForMaskedLM(
        tf.BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=8 * heads,
            num_attention_heads=heads,
            num_hidden_layers=depth,
            intermediate_size=32 * heads,
            max_position_embeddings=32,
        )
    )


def albert(heads: int, depth: int):
    return tf.AlbertForMaskedLM(
        tf.AlbertConfig(
            vocab_size=VOCABULARY,
            embedding_size=16,
            hidden_size=8 * heads,
            num_attention_heads=heads,
            num_hidden_layers=depth,
            intermediate_size=32 * heads,
            max_position_embeddings=32,
        )
    )


def t5(heads: int, depth: int):
    return tf.T5ForConditionalGeneration(
        tf.T5Config(
            vocab_size=VOCABULARY,
            d_model=8 * heads,
            d_kv=8,
            d_ff=32 * heads,
            num_layers=depth,
            num_decoder_layers=depth,
            num_heads=heads,
            decoder_start_token_id=0,
        )
    )


def whisper(heads: int, depth: int):
    return tf.WhisperForConditionalGeneration(
        tf.WhisperConfig(
            vocab_size=VOCABULARY,
            num_mel_bins=8,
            d_model=8 * heads,
            encoder_layers=depth,
            decoder_layers=depth,
            encoder_attention_heads=heads,
            decoder_attention_heads=heads,
            encoder_ffn_dim=32 * heads,
            decoder_ffn_dim=32 * heads,
            max_source_positions=16,
            max_target_positions=16,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=1,
            decoder_start_token_id=1,
        )
    )


def clip(heads: int, depth: int):
    shared = {
        "hidden_size": 8 * heads,
        "num_attention_heads": heads,
        "num_hidden_layers": depth,
        "intermediate_size": 32 * heads,
    }
    text = {
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 16,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    return tf.CLIPModel(
        tf.CLIPConfig(
            text_config={**shared, **text},
            vision_config={**shared, "image_size": 16, "patch_size": 8},
            projection_dim=16,
        )
    )


def picture(size: int = 16) -> torch.Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


ids = {"input_ids": tokens()}
pair = {"input_ids": tokens(), "decoder_input_ids": tokens(6)}
ENTRIES = (
    Entry(
        "gpt2",
        gpt2,
        **SIZES,
        inputs=ids,
        depths=((4, 8),),
        roles={"*.c_attn.weight": "hidden", "transformer.wte.weight": "input"},
        tails=("*.c_proj.*",),
        readout=("transformer.ln_f.weight",),
    ),
    Entry(
        "llama",
        llama_like(tf.LlamaConfig, tf.LlamaForCausalLM),
        **SIZES,
        inputs=ids,
        depths=((4, 8),),
        roles={"*.k_proj.weight": "hidden", "lm_head.weight": "output"},
        tails=("*.o_proj.weight", "*.down_proj.weight"),
    ),
    Entry("qwen3", llama_like(tf.Qwen3Config, tf.Qwen3ForCausalLM), **SIZES, inputs=ids, depths=((4, 8),)),
    Entry(
        "gemma2", llama_like(tf.Gemma2Config, tf.Gemma2ForCausalLM), **SIZES, inputs=ids, depths=((4, 8),), refused=8
    ),
    Entry(
        "olmo2",
        llama_like(tf.Olmo2Config, tf.Olmo2ForCausalLM),
        **SIZES,
        inputs=ids,
        depths=((4, 8),),
        tails=("*.post_attention_layernorm.weight", "*.post_feedforward_layernorm.weight"),
    ),
    Entry("neox", neox, **SIZES, inputs=ids, depths=((2, 4),), tails=("*.attention.dense.*", "*.mlp.dense_4h_to_h.*")),
    Entry(
        "mixtral",
        llama_like(tf.MixtralConfig, tf.MixtralForCausalLM, num_local_experts=4, num_experts_per_tok=2),
        **SIZES,
        inputs=ids,
        depths=((4, 8),),
        roles={"*.mlp.gate.weight": "output", "*.experts.gate_up_proj": "hidden"},
        tails=("*.experts.down_proj",),
    ),
    Entry(
        "mamba",
        mamba,
        **SIZES,
        inputs=ids,
        depths=((2, 4),),
        roles={"*.conv1d.weight": "input", "*.A_log": "input", "*.x_proj.weight": "output"},
        tails=("*.out_proj.weight",),
    ),
    Entry("bert", bert, **SIZES, inputs=ids, depths=((4, 8),), postnorm="allow"),
    Entry("albert", albert, **SIZES, inputs=ids, depths=((4, 8),), postnorm="allow"),
    Entry(
        "t5",
        t5,
        **SIZES,
        inputs=pair,
        depths=((4, 8), (6, 12)),
        readout=("decoder.final_layer_norm.weight",),
        roles={"*.relative_attention_bias.weight": "input"},
    ),
    Entry(
        "whisper",
        whisper,
        **SIZES,
        inputs={"input_features": torch.randn(2, 8, 32), "decoder_input_ids": tokens(6)},
        depths=((4, 8), (6, 12)),
    ),
    Entry("clip", clip, **SIZES, inputs={"input_ids": tokens(), "pixel_values": picture()}, depths=((4, 8), (4, 8))),
)
