//! When a run ends, and the learning rate on the way: by steps, or by the time that it
//! may take ("24-hour BERT", Izsak et al. 2021, and Geiping and Goldstein 2023). By steps
//! everything is a function of the step; by time, of what was used of it, which
//! checkpoints keep.

use crate::config::{DecayShape, OptimizerConfig, Schedule, TrainConfig};

/// How long a run goes on: to its last step or the end of its time, whichever is first.
#[derive(Debug, Clone, Copy)]
pub struct Horizon {
    /// Steps of the whole run.
    pub steps: Option<u64>,
    /// Seconds of the whole run.
    pub seconds: Option<f64>,
}

impl Horizon {
    /// That of a configuration.
    pub fn of(config: &TrainConfig) -> Self {
        Self {
            steps: config.last_step(),
            seconds: config.budget.map(|budget| budget.seconds()),
        }
    }

    /// The share of the run that `steps` steps in `elapsed` seconds are, 1 at its end.
    pub fn share(&self, steps: f64, elapsed: f64) -> f64 {
        let of = |done: f64, all: f64| (done / all).min(1.0);
        let by_steps = self.steps.map_or(0.0, |all| of(steps, all as f64));
        let by_time = self.seconds.map_or(0.0, |all| of(elapsed, all));
        by_steps.max(by_time)
    }

    /// Whether a run of `step` steps in `elapsed` seconds has ended.
    pub fn is_over(&self, step: u64, elapsed: f64) -> bool {
        self.steps.is_some_and(|all| step >= all) || self.seconds.is_some_and(|all| elapsed >= all)
    }

    /// Seconds left after `step` steps in `elapsed` seconds, at so many `seconds` a step.
    pub fn left(&self, step: u64, elapsed: f64, seconds: f64) -> f64 {
        let by_steps = self.steps.map(|all| (all - step.min(all)) as f64 * seconds);
        let by_time = self.seconds.map(|all| (all - elapsed).max(0.0));
        by_steps
            .unwrap_or(f64::INFINITY)
            .min(by_time.unwrap_or(f64::INFINITY))
    }
}

/// The learning rate of step `step` (from 0), begun `elapsed` seconds into the run: it
/// rises linearly from 0 in the warm-up and goes on as the schedule says.
pub fn learning_rate(config: &OptimizerConfig, horizon: Horizon, step: u64, elapsed: f64) -> f64 {
    let step = step as f64;
    let after = horizon.share(step + 1.0, elapsed);
    let rise = match config.warmup_steps {
        Some(steps) => (step + 1.0) / steps as f64,
        None => after / config.warmup,
    };
    // Where the warm-up is counted in steps and the run in time, nobody knows what share
    // it will be: the fall then counts from the start, and binds where it is lower.
    let warm = match (config.warmup_steps, horizon.steps) {
        (Some(warm), Some(all)) => warm as f64 / all as f64,
        (Some(_), None) => 0.0,
        (None, _) => config.warmup,
    };
    let left = 1.0 - horizon.share(step, elapsed);
    // A warm-up that takes the whole run leaves its last step at the peak.
    let one = horizon.steps.map_or(f64::EPSILON, |all| 1.0 / all as f64);
    let of = |range: f64| (left / range.max(one)).clamp(0.0, 1.0);
    let fall = match config.schedule {
        Schedule::Constant => 1.0,
        Schedule::Linear => of(1.0 - warm),
        Schedule::Cosine => cosine(of(1.0 - warm)),
        Schedule::WarmupStableDecay => match config.decay_shape {
            DecayShape::Linear => of(config.decay),
            DecayShape::Cosine => cosine(of(config.decay)),
            DecayShape::OneMinusSqrt => 1.0 - (1.0 - of(config.decay)).sqrt(),
        },
    };
    let (peak, end) = (config.learning_rate, config.final_learning_rate);
    let rising = if rise < 1.0 { peak * rise } else { peak };
    rising.min(end + (peak - end) * fall)
}

/// Half a cosine, from 0 to 1.
fn cosine(left: f64) -> f64 {
    (1.0 - (std::f64::consts::PI * left).cos()) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(schedule: Schedule, warmup: f64) -> OptimizerConfig {
        OptimizerConfig {
            learning_rate: 1.0,
            schedule,
            warmup,
            ..OptimizerConfig::default()
        }
    }

    const HUNDRED: Horizon = Horizon {
        steps: Some(100),
        seconds: None,
    };

    fn rates(config: &OptimizerConfig) -> Vec<f64> {
        (0..100)
            .map(|step| learning_rate(config, HUNDRED, step, 0.0))
            .collect()
    }

    fn near(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }

    #[test]
    fn linear_rises_to_its_peak_and_falls_to_nothing() {
        let rates = rates(&config(Schedule::Linear, 0.1));
        near(rates[0], 0.1);
        near(rates[4], 0.5);
        assert!(rates[..10].is_sorted() && rates[10..].iter().rev().is_sorted());
        assert_eq!((rates[9], rates[10]), (1.0, 1.0));
        near(rates[99], 1.0 / 90.0);
        let one = Horizon {
            steps: Some(1),
            ..HUNDRED
        };
        assert_eq!(
            learning_rate(&config(Schedule::Linear, 0.0), one, 0, 0.0),
            1.0
        );
        let all = config(Schedule::Linear, 1.0);
        near(learning_rate(&all, HUNDRED, 99, 0.0), 1.0);
    }

    #[test]
    fn a_warm_up_in_steps_is_that_of_its_share() {
        for schedule in [Schedule::Linear, Schedule::Cosine] {
            let share = config(schedule, 0.25);
            let steps = OptimizerConfig {
                warmup_steps: Some(25),
                warmup: 0.0,
                ..share.clone()
            };
            for (a, b) in rates(&share).into_iter().zip(rates(&steps)) {
                near(a, b);
            }
        }
    }

    #[test]
    fn cosine_falls_by_half_at_half_the_way_to_its_end() {
        let config = OptimizerConfig {
            final_learning_rate: 0.1,
            ..config(Schedule::Cosine, 0.2)
        };
        let rates = rates(&config);
        near(rates[19], 1.0);
        near(rates[60], 0.55);
        near(rates[40], 0.1 + 0.9 * (1.0 + 0.5f64.sqrt()) / 2.0);
        assert!(rates[99] > 0.1 && rates[99] < 0.101);
    }

    #[test]
    fn warmup_stable_decay_stays_until_its_end_and_constant_stays() {
        for (shape, halfway) in [
            (DecayShape::Linear, 0.5),
            (DecayShape::Cosine, 0.5),
            (DecayShape::OneMinusSqrt, 1.0 - 0.5f64.sqrt()),
        ] {
            let rates = rates(&OptimizerConfig {
                decay: 0.2,
                decay_shape: shape,
                ..config(Schedule::WarmupStableDecay, 0.1)
            });
            near(rates[4], 0.5);
            rates[9..80].iter().for_each(|&rate| near(rate, 1.0));
            // The root makes of a rounding of 1e-16 one of 1e-8.
            assert!((rates[80] - 1.0).abs() < 1e-7, "{}", rates[80]);
            near(rates[90], halfway);
        }
        let rates = rates(&config(Schedule::Constant, 0.1));
        near(rates[0], 0.1);
        assert!(rates[9..].iter().all(|&rate| rate == 1.0));
    }

    #[test]
    fn a_budget_of_time_takes_the_place_of_steps() {
        let hour = Horizon {
            steps: None,
            seconds: Some(3600.0),
        };
        let at =
            |config: &OptimizerConfig, step, elapsed| learning_rate(config, hour, step, elapsed);
        let linear = config(Schedule::Linear, 0.1);
        near(at(&linear, 9, 180.0), 0.5);
        near(at(&linear, 999, 180.0), 0.5);
        near(at(&linear, 5, 360.0), 1.0);
        near(at(&linear, 5, 1980.0), 0.5);
        near(at(&linear, 5, 3600.0), 0.0);
        near(at(&linear, 5, 4000.0), 0.0);
        assert!(!hour.is_over(1 << 40, 3599.9) && hour.is_over(0, 3600.0));
        near(hour.left(5, 600.0, 2.0), 3000.0);
        let steps = OptimizerConfig {
            warmup_steps: Some(10),
            ..linear
        };
        near(at(&steps, 4, 0.0), 0.5);
        near(at(&steps, 10, 1800.0), 0.5);
        // Of both, what is used up more counts.
        let both = Horizon {
            steps: Some(100),
            ..hour
        };
        let none = config(Schedule::Linear, 0.0);
        near(learning_rate(&none, both, 50, 0.0), 0.5);
        near(learning_rate(&none, both, 50, 2700.0), 0.25);
        assert!(both.is_over(100, 0.0));
        near(both.left(90, 0.0, 2.0), 20.0);
    }
}
