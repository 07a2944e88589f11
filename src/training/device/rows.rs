//! Rows of a table picked by index, and what flows back to the table: sums over equal
//! indices. candle's own gradient (`index_add`) runs through all indices one after the
//! other in every thread; here rows of one index are added in pairs, so a sum of n rows
//! takes log₂ n launches, and the result is the same bits every time.

use candle_core::{Result, Tensor};

/// The rows `indices` of `table`.
pub fn pick(table: &Tensor, indices: &[u32]) -> Result<Tensor> {
    let indices = Tensor::from_slice(indices, indices.len(), table.device())?;
    table.index_select(&indices, 0)
}

/// The reverse: `size` rows, each the sum of those rows of `picked` whose index it is,
/// and zero where there is none.
pub fn add_up(picked: &Tensor, indices: &[u32], size: usize) -> Result<Tensor> {
    let mut order: Vec<u32> = (0..indices.len() as u32).collect();
    order.sort_by_key(|&row| indices[row as usize]);
    let mut owners: Vec<u32> = order.iter().map(|&row| indices[row as usize]).collect();
    let mut rows = with_zero(&pick(picked, &order)?)?;
    while owners.windows(2).any(|two| two[0] == two[1]) {
        let zero = owners.len() as u32;
        let (mut left, mut right, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        let mut next = 0;
        for pair in owners.chunk_by(|a, b| a == b).flat_map(|run| run.chunks(2)) {
            left.push(next);
            right.push(if pair.len() == 2 { next + 1 } else { zero });
            kept.push(pair[0]);
            next += pair.len() as u32;
        }
        rows = with_zero(&(pick(&rows, &left)? + pick(&rows, &right)?)?)?;
        owners = kept;
    }
    let mut places = vec![owners.len() as u32; size];
    for (place, &owner) in owners.iter().enumerate() {
        places[owner as usize] = place as u32;
    }
    pick(&rows, &places)
}

/// The sum of all rows. By a product: candle's sum over rows reads memory across.
pub fn total(rows: &Tensor) -> Result<Tensor> {
    Tensor::ones((1, rows.dim(0)?), rows.dtype(), rows.device())?.matmul(rows)
}

/// A row of zeros behind the others.
pub fn with_zero(rows: &Tensor) -> Result<Tensor> {
    let zero = Tensor::zeros((1, rows.dim(1)?), rows.dtype(), rows.device())?;
    Tensor::cat(&[rows, &zero], 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_of_one_index_add_up(indices in prop::collection::vec(0u32..9, 1..40)) {
            let values: Vec<f64> = (0..2 * indices.len()).map(|x| x as f64).collect();
            let picked = Tensor::from_slice(&values, (indices.len(), 2), &Device::Cpu).unwrap();
            let sums = add_up(&picked, &indices, 9).unwrap();
            let mut expected = vec![0.0; 18];
            for (row, &index) in indices.iter().enumerate() {
                expected[2 * index as usize] += values[2 * row];
                expected[2 * index as usize + 1] += values[2 * row + 1];
            }
            prop_assert_eq!(sums.flatten_all().unwrap().to_vec1::<f64>().unwrap(), expected);
        }
    }
}
