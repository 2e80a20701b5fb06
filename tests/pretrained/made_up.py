"""Files as guided diffusion and EDM lay them out, with weights made by the rule from the names of the tensors."""

from golden_weights import rule


def norm(name, width):
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def linear(name, width, out, *sides, bias=True):
    return {f"{name}.weight": (out, width, *sides)} | ({f"{name}.bias": (out,)} if bias else {})


def block_of_adm(name, width, out, embedding):
    shapes = norm(f"{name}.in_layers.0", width) | linear(f"{name}.in_layers.2", width, out, 3, 3)
    shapes |= linear(f"{name}.emb_layers.1", embedding, 2 * out) | norm(f"{name}.out_layers.0", out)
    shapes |= linear(f"{name}.out_layers.3", out, out, 3, 3)
    return shapes | (linear(f"{name}.skip_connection", width, out, 1, 1) if width != out else {})


def attention_of_adm(name, width):
    return (
        norm(f"{name}.norm", width)
        | linear(f"{name}.qkv", width, 3 * width, 1)
        | linear(f"{name}.proj_out", width, width, 1)
    )


def adm(features=8, channels=1, classes=None, learned_range=True):
    """ADM of two levels, 1 and 2 times the features, with a block each, and attention at the second."""
    embedding, wide = 4 * features, 2 * features
    shapes = linear("time_embed.0", features, embedding) | linear("time_embed.2", embedding, embedding)
    shapes |= {"label_emb.weight": (classes, embedding)} if classes else {}
    shapes |= linear("input_blocks.0.0", channels, features, 3, 3)
    shapes |= block_of_adm("input_blocks.1.0", features, features, embedding)
    shapes |= block_of_adm("input_blocks.2.0", features, features, embedding)  # halves
    shapes |= block_of_adm("input_blocks.3.0", features, wide, embedding) | attention_of_adm("input_blocks.3.1", wide)
    shapes |= block_of_adm("middle_block.0", wide, wide, embedding) | attention_of_adm("middle_block.1", wide)
    shapes |= block_of_adm("middle_block.2", wide, wide, embedding)
    shapes |= block_of_adm("output_blocks.0.0", 2 * wide, wide, embedding) | attention_of_adm("output_blocks.0.1", wide)
    shapes |= block_of_adm("output_blocks.1.0", wide + features, wide, embedding)
    shapes |= attention_of_adm("output_blocks.1.1", wide)
    shapes |= block_of_adm("output_blocks.1.2", wide, wide, embedding)  # doubles
    shapes |= block_of_adm("output_blocks.2.0", wide + features, features, embedding)
    shapes |= block_of_adm("output_blocks.3.0", features + features, features, embedding)
    shapes |= norm("out.0", features) | linear("out.2", features, channels * (1 + learned_range), 3, 3)
    return {name: rule(name, shape) for name, shape in shapes.items()}


def adm_classifier(features=8, channels=1, classes=10, sites=16):
    """Its classifier, with the same way down."""
    wide = 2 * features
    state = {n: v for n, v in adm(features, channels).items() if n.split(".")[0] not in ("output_blocks", "out")}
    shapes = norm("out.0", wide) | {"out.2.positional_embedding": (wide, sites + 1)}
    shapes |= linear("out.2.qkv_proj", wide, 3 * wide, 1) | linear("out.2.c_proj", wide, classes, 1)
    return state | {name: rule(name, shape) for name, shape in shapes.items()}


def block_of_edm(name, width, out, embedding, *, scaled, shortcut=None, attention=False):
    shapes = norm(f"{name}.norm0", width) | linear(f"{name}.conv0", width, out, 3, 3)
    shapes |= linear(f"{name}.affine", embedding, out * (1 + scaled)) | norm(f"{name}.norm1", out)
    shapes |= linear(f"{name}.conv1", out, out, 3, 3)
    shapes |= linear(f"{name}.skip", width, out, 1, 1) if (width != out if shortcut is None else shortcut) else {}
    if attention:
        shapes |= norm(f"{name}.norm2", out) | linear(f"{name}.qkv", out, 3 * out, 1, 1)
        shapes |= linear(f"{name}.proj", out, out, 1, 1)
    return shapes


def song_unet(features=8, channels=1, classes=10, augment=9, side=8):
    """NCSN++ of EDM with two levels of one block each, and attention at the second."""
    e, f, a, b = 4 * features, features, f"{side}x{side}", f"{side // 2}x{side // 2}"
    block = lambda name, width, **more: block_of_edm(name, width, f, e, scaled=False, **more)  # noqa: E731
    shapes = {"map_noise.freqs": (f,)} | linear("map_layer0", 2 * f, e) | linear("map_layer1", e, e)
    shapes |= linear("map_label", classes, 2 * f) | linear("map_augment", augment, 2 * f, bias=False)
    shapes |= linear(f"enc.{a}_conv", channels, f, 3, 3) | block(f"enc.{a}_block0", f)
    shapes |= block(f"enc.{b}_down", f, shortcut=True) | linear(f"enc.{b}_aux_residual", channels, f, 3, 3)
    shapes |= block(f"enc.{b}_block0", f, attention=True)
    shapes |= block(f"dec.{b}_in0", f, attention=True) | block(f"dec.{b}_in1", f)
    shapes |= block(f"dec.{b}_block0", 2 * f) | block(f"dec.{b}_block1", 2 * f, attention=True)
    shapes |= block(f"dec.{a}_up", f, shortcut=True) | block(f"dec.{a}_block0", 2 * f) | block(f"dec.{a}_block1", 2 * f)
    shapes |= norm(f"dec.{a}_aux_norm", f) | linear(f"dec.{a}_aux_conv", f, channels, 3, 3)
    settings = {
        "img_resolution": side, "in_channels": channels, "out_channels": channels, "label_dim": classes,
        "augment_dim": augment, "model_channels": f, "channel_mult": [1, 1], "num_blocks": 1,
        "attn_resolutions": [side // 2], "dropout": 0.1, "embedding_type": "fourier", "channel_mult_noise": 2,
        "encoder_type": "residual", "decoder_type": "standard", "resample_filter": [1, 3, 3, 1],
    }  # fmt: skip
    return {name: rule(name, shape) for name, shape in shapes.items()}, settings
