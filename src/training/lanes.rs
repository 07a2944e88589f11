//! Loops over slices as vector instructions. Sums run in 16 lanes that are folded
//! in a fixed order, so their bits depend on the length only.

use super::real::Real;

const LANES: usize = 16;

/// Runs `work`, compiled for the widest vectors that this machine has. What `work`
/// calls has to be `#[inline(always)]`, itself included.
#[inline(always)]
pub fn wide<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// Σ f(xᵢ).
#[inline(always)]
pub fn sum_of<T: Real>(x: &[T], f: impl Fn(T) -> T) -> T {
    let mut lanes = [T::zero(); LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane += f(value);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane += f(value);
    }
    fold(lanes)
}

/// xᵢ = f(xᵢ); gives their sum.
#[inline(always)]
pub fn map_and_sum<T: Real>(x: &mut [T], f: impl Fn(T) -> T) -> T {
    let mut lanes = [T::zero(); LANES];
    let mut chunks = x.chunks_exact_mut(LANES);
    for chunk in &mut chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *value = f(*value);
            *lane += *value;
        }
    }
    for (lane, value) in lanes.iter_mut().zip(chunks.into_remainder()) {
        *value = f(*value);
        *lane += *value;
    }
    fold(lanes)
}

/// Σ xᵢ.
#[inline(always)]
pub fn sum<T: Real>(x: &[T]) -> T {
    sum_of(x, |value| value)
}

/// Σ xᵢ · (yᵢ − shift).
#[inline(always)]
pub fn dot<T: Real>(x: &[T], y: &[T], shift: T) -> T {
    let mut lanes = [T::zero(); LANES];
    let (xs, ys) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let (x_rest, y_rest) = (xs.remainder(), ys.remainder());
    for (x, y) in xs.zip(ys) {
        for ((lane, &x), &y) in lanes.iter_mut().zip(x).zip(y) {
            *lane += x * (y - shift);
        }
    }
    for ((lane, &x), &y) in lanes.iter_mut().zip(x_rest).zip(y_rest) {
        *lane += x * (y - shift);
    }
    fold(lanes)
}

/// The largest value; that of an empty slice is the smallest finite one.
#[inline(always)]
pub fn maximum<T: Real>(x: &[T]) -> T {
    let mut lanes = [T::from_f64(-3e38); LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = lane.larger(value);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane = lane.larger(value);
    }
    lanes
        .into_iter()
        .reduce(|a, b| a.larger(b))
        .unwrap_or_default()
}

/// y += x.
#[inline(always)]
pub fn add<T: Real>(y: &mut [T], x: &[T]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y += x;
    }
}

#[inline(always)]
fn fold<T: Real>(mut lanes: [T; LANES]) -> T {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}
