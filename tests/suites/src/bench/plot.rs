//! Plots, as SVG.

use anyhow::Result;
use plotters::prelude::*;

/// Width and height.
const SIZE: (u32, u32) = (760, 400);

/// The colours of series.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0xd6, 0x27, 0x28),
    RGBColor(0x2c, 0xa0, 0x2c),
    RGBColor(0x94, 0x67, 0xbd),
    RGBColor(0xff, 0x7f, 0x0e),
    RGBColor(0x44, 0x44, 0x44),
];

/// A point: where it is, and what lies in the middle of the samples and at their quartiles.
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) middle: f64,
    pub(super) quartiles: [f64; 2],
}

/// Points with a name.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<Point>,
}

/// What is written around a plot.
pub(super) struct Labels<'a> {
    pub(super) title: &'a str,
    pub(super) x: &'a str,
    pub(super) y: &'a str,
}

/// Lines over a logarithmic axis, with the quartiles as whiskers.
///
/// # Errors
///
/// The plot cannot be drawn.
pub(super) fn lines(labels: &Labels<'_>, series: &[Series]) -> Result<String> {
    let mut svg = String::new();
    let points = || series.iter().flat_map(|series| &series.points);
    let fold = |of: fn(&Point) -> f64, with: fn(f64, f64) -> f64| points().map(of).reduce(with);
    let (Some(left), Some(right)) = (fold(|p| p.x, f64::min), fold(|p| p.x, f64::max)) else {
        return Ok(svg);
    };
    let top = points().map(|point| point.quartiles[1].max(point.middle));
    let top = top.fold(0.0, f64::max) * 1.1;
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .caption(labels.title, ("sans-serif", 18))
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(70)
            .build_cartesian_2d((left..right * 1.05).log_scale(), 0.0..top)?;
        chart
            .configure_mesh()
            .x_desc(labels.x)
            .y_desc(labels.y)
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| super::report::digits(*y))
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (series, colour) in series.iter().zip(COLOURS.into_iter().cycle()) {
            let line = series.points.iter().map(|point| (point.x, point.middle));
            chart
                .draw_series(LineSeries::new(line, colour.stroke_width(2)))?
                .label(&series.name)
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2))
                });
            chart.draw_series(series.points.iter().map(|point| {
                let [low, high] = point.quartiles;
                PathElement::new([(point.x, low), (point.x, high)], colour.stroke_width(1))
            }))?;
        }
        chart
            .configure_series_labels()
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.3))
            .position(SeriesLabelPosition::UpperLeft)
            .draw()?;
        root.present()?;
    }
    Ok(svg)
}

/// A bar with its name.
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) middle: f64,
    pub(super) quartiles: [f64; 2],
    /// Which colour.
    pub(super) kind: usize,
}

/// Horizontal bars, with the quartiles as whiskers.
///
/// # Errors
///
/// The plot cannot be drawn.
pub(super) fn bars(title: &str, unit: &str, bars: &[Bar]) -> Result<String> {
    let mut svg = String::new();
    let right = bars.iter().map(|bar| bar.middle.max(bar.quartiles[1]));
    let right = right.fold(0.0, f64::max) * 1.15;
    if right <= 0.0 {
        return Ok(svg);
    }
    let count = u32::try_from(bars.len())?;
    {
        let size = (SIZE.0, 80 + 26 * count);
        let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .caption(title, ("sans-serif", 18))
            .margin(10)
            .x_label_area_size(36)
            .y_label_area_size(230)
            .build_cartesian_2d(0.0..right, 0.0..f64::from(count))?;
        let name = |y: &f64| {
            let index = f64::from(count) - y - 0.5;
            let named = bars.iter().zip(0_u32..);
            let mut named = named.filter(|(_, at)| (f64::from(*at) - index).abs() < 0.01);
            named
                .next()
                .map(|(bar, _)| bar.name.clone())
                .unwrap_or_default()
        };
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .light_line_style(TRANSPARENT)
            .x_desc(unit)
            .draw()?;
        for (bar, index) in bars.iter().zip(0_u32..) {
            let y = f64::from(count - index) - 0.5;
            let colour = COLOURS.get(bar.kind).copied().unwrap_or(BLACK);
            chart.draw_series([Rectangle::new(
                [(0.0, y - 0.36), (bar.middle, y + 0.36)],
                colour.mix(0.7).filled(),
            )])?;
            let [low, high] = bar.quartiles;
            chart.draw_series([PathElement::new(
                [(low, y), (high, y)],
                BLACK.stroke_width(1),
            )])?;
            let (x, row) = chart.backend_coord(&(0.0, y));
            let style = ("sans-serif", 13).into_text_style(&root).pos(
                plotters::style::text_anchor::Pos::new(
                    plotters::style::text_anchor::HPos::Right,
                    plotters::style::text_anchor::VPos::Center,
                ),
            );
            root.draw_text(&name(&y), &style, (x - 8, row))?;
        }
        root.present()?;
    }
    Ok(svg)
}
