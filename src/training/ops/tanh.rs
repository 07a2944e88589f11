//! The hyperbolic tangent, for the one token of a row that heads of BERT's kind look at.

use crate::training::lanes;
use crate::training::matrix::Matrix;
use crate::training::real::Real;

/// tanh of every number, in place: 1 − 2 / (e²ˣ + 1).
pub fn forward<T: Real>(x: &mut Matrix<T>) {
    let two = T::from_f64(2.0);
    lanes::wide(
        #[inline(always)]
        || {
            for x in x.iter_mut() {
                *x = T::one() - two / ((two * *x).exp() + T::one());
            }
        },
    );
}

/// Turns the gradient `dy` of `y` = tanh(x) into that of x, in place.
pub fn backward<T: Real>(dy: &mut Matrix<T>, y: &Matrix<T>) {
    for (dy, &y) in dy.iter_mut().zip(y.iter()) {
        *dy *= T::one() - y * y;
    }
}
