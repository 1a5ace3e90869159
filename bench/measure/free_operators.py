"""Operators that hold no multiply-accumulate, and why; anything that is neither here nor has a formula is an error.

The convention: MACs are the multiply-adds of matrix products and convolutions. Work that is proportional to the
number of elements is left out, as it is in the figures of the literature, because it is bound by memory and not by
arithmetic. Each family below says why it is such work. Names are those of torch's operator schemas without
namespace, overload and the trailing underscore of in-place variants.
"""

from __future__ import annotations

from collections.abc import Mapping


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


FREE_OPERATORS: Mapping[str, frozenset[str]] = {
    "elementwise: one small formula per element": _names(
        """
        abs acos acosh add addcdiv addcmul angle asin asinh atan atan2 atanh bitwise_and bitwise_left_shift
        bitwise_not bitwise_or bitwise_right_shift bitwise_xor ceil celu clamp clamp_max clamp_min clip conj
        conj_physical copysign cos cosh deg2rad digamma div elu eq erf erfc erfinv exp exp2 expm1 float_power floor
        floor_divide fmax fmin fmod frac ge gelu glu gt hardshrink hardsigmoid hardswish hardtanh heaviside hypot i0
        isfinite isinf isnan isneginf isposinf ldexp le leaky_relu lerp lgamma log log10 log1p log2
        log_sigmoid_forward logaddexp logaddexp2 logical_and logical_not logical_or logical_xor logit lt maximum
        minimum mish mul mvlgamma nan_to_num native_dropout ne neg nextafter polar positive pow _prelu_kernel prelu
        rad2deg real imag reciprocal relu relu6 remainder round rrelu rsqrt rsub rrelu_with_noise selu sgn sigmoid
        sign signbit silu sin sinc sinh softplus softshrink special_erf special_expit special_i1 sqrt square sub tan
        tanh threshold trunc where xlogy _conj _neg_view __and__ __or__ __xor__ __lshift__ __rshift__ dropout
        alpha_dropout feature_dropout
        """
    ),
    "reduction: each element is used once": _names(
        """
        all amax amin aminmax any argmax argmin argsort bincount count_nonzero cummax cummin cumprod cumsum diff
        kthvalue linalg_vector_norm log_softmax logcumsumexp _log_softmax logsumexp max mean median min mode nanmean
        nanmedian nansum norm prod _safe_softmax softmax _softmax sort std std_mean sum topk unique_consecutive
        _unique2 var var_mean histc searchsorted bucketize trace
        """
    ),
    "normalisation: a reduction and an elementwise formula": _names(
        """
        batch_norm _batch_norm_impl_index _batch_norm_no_update _batch_norm_with_update cudnn_batch_norm group_norm
        instance_norm layer_norm miopen_batch_norm native_batch_norm _native_batch_norm_legit
        _native_batch_norm_legit_functional _native_batch_norm_legit_no_training native_group_norm native_layer_norm
        rms_norm _fused_rms_norm _weight_norm _weight_norm_interface
        """
    ),
    "resampling and pooling: a fixed handful of neighbours per element": _names(
        """
        adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d
        adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d affine_grid_generator avg_pool1d avg_pool2d
        avg_pool3d grid_sampler grid_sampler_2d grid_sampler_3d max_pool1d max_pool1d_with_indices max_pool2d
        max_pool2d_with_indices max_pool3d max_pool3d_with_indices max_unpool2d max_unpool3d upsample_bicubic2d
        _upsample_bicubic2d_aa upsample_bilinear2d _upsample_bilinear2d_aa upsample_linear1d upsample_nearest1d
        upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d
        _upsample_nearest_exact3d upsample_trilinear3d
        """
    ),
    "views: no data is touched": _names(
        """
        alias as_strided chunk detach diagonal expand expand_as flatten lift_fresh movedim narrow permute reshape
        _reshape_alias resolve_conj resolve_neg select slice split split_with_sizes squeeze swapaxes swapdims t
        tensor_split transpose unbind unflatten unfold unsafe_chunk unsafe_split unsafe_split_with_sizes
        _unsafe_view unsqueeze view view_as view_as_complex view_as_real numpy_T mT adjoint
        """
    ),
    "moves: elements are copied, none is computed": _names(
        """
        cat channel_shuffle clone col2im complex concat constant_pad_nd contiguous copy _to_copy to flip gather
        im2col index index_add index_copy index_fill index_put _index_put_impl index_select _unsafe_index
        _unsafe_index_put masked_fill masked_scatter masked_select pad pixel_shuffle pixel_unshuffle put
        reflection_pad1d reflection_pad2d reflection_pad3d repeat repeat_interleave replication_pad1d
        replication_pad2d replication_pad3d roll rot90 scatter scatter_add scatter_reduce select_scatter
        slice_scatter stack take take_along_dim tile tril triu type_as meshgrid diag diag_embed diagonal_scatter
        _copy_from _pin_memory resize set lift
        """
    ),
    "look-ups: rows of a table are copied": _names("embedding _embedding_bag embedding_bag one_hot"),
    "creation and random numbers: elements are written": _names(
        """
        arange bernoulli blackman_window empty empty_like empty_permuted empty_strided eye fill full full_like
        hann_window linspace logspace multinomial new_empty new_empty_strided new_full new_ones new_zeros normal
        normal_functional ones ones_like rand rand_like randint randint_like randn randn_like randperm scalar_tensor
        tril_indices triu_indices uniform zero zeros zeros_like exponential
        """
    ),
    "questions of the host: no arithmetic on the device": _names(
        """
        allclose equal _has_compatible_shallow_copy_type is_nonzero is_pinned is_same_size isclose item
        _local_scalar_dense nonzero nonzero_static numel size stride sym_numel sym_size sym_storage_offset
        sym_stride _assert_async _assert_tensor_metadata _nested_tensor_size
        """
    ),
}
"""Family and reason -> operator names."""

FREE_NAMES = frozenset(name for names in FREE_OPERATORS.values() for name in names)

FREE_NAMESPACES = frozenset({"prim", "profiler"})
"""Bookkeeping: where a tensor is, the profiler's marks."""


def is_free(namespace: str, name: str) -> bool:
    """Whether an operator is known to hold no multiply-accumulate.

    name: of the schema without overload, such as `add_`. `_foreach_` variants do to a list what the plain one does.
    """
    if namespace in FREE_NAMESPACES:
        return True
    if namespace != "aten":
        return False
    plain = name.removeprefix("_foreach_")
    in_place = plain.endswith("_") and not plain.endswith("__")
    return plain in FREE_NAMES or (in_place and plain[:-1] in FREE_NAMES)
