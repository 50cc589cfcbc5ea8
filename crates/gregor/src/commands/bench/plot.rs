//! Drawings of results, as SVG.

use std::fmt::Display;
use std::path::Path;

use plotters::prelude::*;

use super::load::f64_of;
use super::report::{Outcome, number};
use crate::failure::Failure;

/// In pixels.
const SIZE: (u32, u32) = (900, 480);
const LABEL_AREA: i32 = 60;

/// A line of points.
pub struct Series {
    /// What it shows.
    pub name: String,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
}

/// What a drawing says beside its lines.
pub struct Words<'a> {
    /// Above.
    pub title: &'a str,
    /// Below; its scale is logarithmic.
    pub across: &'a str,
    /// At the left.
    pub up: &'a str,
}

fn failed(error: impl Display) -> Failure {
    Failure::Other(format!("the drawing cannot be made: {error}"))
}

/// Draws how many requests took how long.
///
/// # Errors
/// [`Failure::Other`].
pub fn latencies(file: &Path, outcome: &Outcome) -> Result<(), Failure> {
    let all = &outcome.latencies;
    // One of 10^k requests is longer, k in steps of a tenth.
    let points = (0..=50).map(|tenth| {
        let rarity = 10_f64.powf(f64::from(tenth) / 10.0);
        (rarity, number(all.value_at_quantile(1.0 - 1.0 / rarity)))
    });
    let seen = number(all.len().max(2));
    let points = points.take_while(|(rarity, _)| *rarity <= seen).collect();
    let title = format!(
        "{} {}: {:.0} requests/s, {:.1} MB/s",
        outcome.broker, outcome.workload, outcome.requests_per_s, outcome.mb_per_s
    );
    let words = Words {
        title: &title,
        across: "one of so many requests takes longer",
        up: "latency in microseconds",
    };
    lines(file, &words, &[Series { name: "latency".to_owned(), points }])
}

/// Draws lines over a logarithmic scale.
///
/// # Errors
/// [`Failure::Other`].
pub fn lines(file: &Path, words: &Words<'_>, all: &[Series]) -> Result<(), Failure> {
    let points = || all.iter().flat_map(|series| &series.points);
    let right = points().map(|point| point.0).fold(10.0, f64::max);
    let top = points().map(|point| point.1).fold(f64::MIN_POSITIVE, f64::max) * 1.1;
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE).map_err(failed)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(words.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(LABEL_AREA - 20)
        .y_label_area_size(LABEL_AREA + 20)
        .build_cartesian_2d((1.0..right).log_scale(), 0.0..top)
        .map_err(failed)?;
    let mesh = &mut chart.configure_mesh();
    mesh.x_desc(words.across).y_desc(words.up).draw().map_err(failed)?;
    for (index, series) in all.iter().enumerate() {
        let color = Palette99::pick(index).to_rgba();
        let line = LineSeries::new(series.points.iter().copied(), color.stroke_width(2));
        chart
            .draw_series(line)
            .map_err(failed)?
            .label(series.name.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
    }
    let labels = &mut chart.configure_series_labels();
    labels.border_style(BLACK.mix(0.3)).background_style(WHITE).draw().map_err(failed)?;
    area.present().map_err(failed)
}

/// Draws a bar for each named value, and a line at 1.
///
/// # Errors
/// [`Failure::Other`].
pub fn bars(file: &Path, title: &str, all: &[(String, f64)]) -> Result<(), Failure> {
    let right = all.iter().map(|bar| bar.1).fold(1.0, f64::max) * 1.1;
    let bottom = f64_of(all.len());
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE).map_err(failed)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(LABEL_AREA - 20)
        .build_cartesian_2d(0.0..right, bottom..0.0)
        .map_err(failed)?;
    chart.configure_mesh().disable_y_mesh().disable_y_axis().draw().map_err(failed)?;
    for (index, (name, value)) in all.iter().enumerate() {
        let at = f64_of(index);
        let color = Palette99::pick(index).mix(0.6).filled();
        let bar = Rectangle::new([(0.0, at + 0.1), (*value, at + 0.9)], color);
        let text = format!("{name}  {value:.2}");
        let label = Text::new(text, (right * 0.01, at + 0.35), ("sans-serif", 14));
        chart.draw_series([bar]).map_err(failed)?;
        chart.draw_series([label]).map_err(failed)?;
    }
    let one = PathElement::new([(1.0, 0.0), (1.0, bottom)], BLACK.stroke_width(1));
    chart.draw_series([one]).map_err(failed)?;
    area.present().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawings_are_svg_with_their_words() {
        let file = |name| std::env::temp_dir().join(format!("{name}-{}.svg", std::process::id()));
        let words = Words { title: "a title", across: "partitions", up: "ms" };
        let series = Series { name: "gregor".to_owned(), points: vec![(1.0, 2.0), (100.0, 3.0)] };
        let (drawn, barred) = (file("lines"), file("bars"));

        lines(&drawn, &words, &[series]).unwrap();
        bars(&barred, "ratios", &[("fetch".to_owned(), 1.2)]).unwrap();

        for (path, expected) in
            [(&drawn, ["a title", "partitions", "gregor"]), (&barred, ["ratios", "fetch", "1.20"])]
        {
            let text = std::fs::read_to_string(path).unwrap();
            assert!(text.starts_with("<svg"));
            for word in expected {
                assert!(text.contains(word), "{word}");
            }
            std::fs::remove_file(path).unwrap();
        }
    }
}
