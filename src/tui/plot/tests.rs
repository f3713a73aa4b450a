//! Axis and windows.

use super::*;

fn at(seconds: f64) -> Timestamp {
    Timestamp::from_secs_f64(seconds)
}

#[test]
fn bins_are_counted_from_time_zero_and_the_last_one_contains_the_end() {
    let axis = Axis::ending(at(45.5), Duration::from_secs(30), 90);
    assert_eq!(axis.column(at(45.4)), Some(89));
    assert_eq!(axis.column(at(45.0)), Some(88));
    // five seconds are fifteen columns
    assert_eq!(axis.column(at(40.0)), Some(73));
    assert_eq!(axis.column(at(15.7)), Some(0));
    assert_eq!(axis.column(at(15.6)), None);
    assert_eq!(axis.column(at(46.0)), None);
    for column in 0..90 {
        assert_eq!(axis.column(axis.at(column)), Some(column));
    }
    // a bin that is over keeps its instants
    let later = Axis::ending(at(47.5), Duration::from_secs(30), 90);
    assert_eq!(later.at(30), axis.at(36));
}

#[test]
fn columns_before_the_start_are_known() {
    let axis = Axis::ending(at(2.5), Duration::from_secs(30), 30);
    assert!(axis.is_before_start(26));
    assert!(!axis.is_before_start(27));
    assert_eq!(
        (axis.at(0), axis.at(27), axis.column(at(0.0))),
        (at(0.0), at(0.0), Some(27))
    );
}

#[test]
fn a_time_that_overlaps_the_axis_has_a_column() {
    let axis = Axis::ending(at(99.0), Duration::from_secs(100), 100);
    for (from, to, columns) in [
        (10.0, 20.0, Some((10, 19))),
        (10.0, 10.0, Some((10, 10))),
        (90.0, 200.0, Some((90, 99))),
        (150.0, 200.0, None),
    ] {
        assert_eq!(axis.columns_of(at(from), at(to)), columns, "{from} to {to}");
    }
    let later = Axis::ending(at(199.0), Duration::from_secs(100), 100);
    assert_eq!(later.columns_of(at(10.0), at(20.0)), None);
    assert_eq!(later.columns_of(at(10.0), at(120.0)), Some((0, 19)));
}

#[test]
fn the_longest_window_grows_in_steps() {
    for (now, span) in [
        (0.0, 30),
        (30.0, 30),
        (31.0, 45),
        (69.0, 90),
        (4000.0, 7200),
        (8000.0, 14_400),
    ] {
        let all = Window::All.span(at(now)).as_secs();
        assert!(all >= now as u64 && all == span, "{now}: {all}");
    }
    let mut window = Window::default();
    for expected in [
        Window::TwoMinutes,
        Window::TenMinutes,
        Window::All,
        Window::HalfMinute,
    ] {
        assert_eq!(window.longer(), expected);
        assert_eq!(expected.shorter(), window);
        window = expected;
    }
}
