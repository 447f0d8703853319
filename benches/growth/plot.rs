//! Curves as SVG files that are readable on a light and on a dark page.

#![allow(clippy::cast_possible_wrap, reason = "a plot has few lines and pixels")]

use std::fs;
use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::support::curve::{Curve, Point};
use super::support::figures::short_count;

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/plots");
const WIDTH_PIXELS: i32 = 760;
const HEIGHT_PIXELS: i32 = 440;
const HEAD_PIXELS: i32 = 30;
const LEGEND_ROW_PIXELS: i32 = 18;
const LEGEND_COLUMNS: i32 = 2;
const MARGIN_PIXELS: i32 = 12;
/// On the right, for the half of the last name that is beyond the axis.
const RIGHT_MARGIN_PIXELS: i32 = 60;
const SWATCH_PIXELS: i32 = 22;
const X_LABEL_AREA_PIXELS: u32 = 46;
const Y_LABEL_AREA_PIXELS: u32 = 66;
const TITLE_FONT_PIXELS: u32 = 17;
const FONT_PIXELS: u32 = 13;
const POINT_RADIUS_PIXELS: u32 = 3;
const BAND_OPACITY: f64 = 0.18;
/// Space beyond the outermost places, as a share of the axis.
const ROOM: f64 = 0.05;
/// Text and lines whose colour the style below replaces where it is understood.
const GREY: RGBColor = RGBColor(128, 128, 128);
/// Distinct on white and on black.
const COLORS: [RGBColor; 7] = [
    RGBColor(59, 130, 246),
    RGBColor(234, 122, 30),
    RGBColor(34, 160, 107),
    RGBColor(168, 85, 247),
    RGBColor(226, 60, 80),
    RGBColor(20, 160, 175),
    RGBColor(150, 140, 90),
];
const STYLE: &str = "<style>text{fill:#424a53;font-family:system-ui,sans-serif}\
    @media (prefers-color-scheme:dark){text{fill:#c4ccd4}}</style>";

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// One axis: logarithmic, or of named places.
struct Axis {
    log: bool,
    from: f64,
    to: f64,
    ticks: Vec<f64>,
}

impl Axis {
    fn place(&self, value: f64) -> f64 {
        if self.log { value.log10() } else { value }
    }

    fn new(log: bool, values: &[f64], ticks: Option<Vec<f64>>) -> Self {
        let mut axis = Self { log, from: 0.0, to: 0.0, ticks: Vec::new() };
        let places = || values.iter().map(|value| axis.place(*value));
        let (least, most) =
            (places().fold(f64::INFINITY, f64::min), places().fold(f64::NEG_INFINITY, f64::max));
        let room = ((most - least) * ROOM).max(ROOM);
        (axis.from, axis.to) = (least - room, most + room);
        axis.ticks = ticks.unwrap_or_else(|| axis.log_ticks());
        axis
    }

    /// 1, 2 and 5 of each power of ten within the axis, or the powers alone if it is long.
    fn log_ticks(&self) -> Vec<f64> {
        const LONG_POWERS: f64 = 2.5;
        let steps: &[f64] = if self.to - self.from > LONG_POWERS { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let powers = self.from.floor() as i32..=self.to.ceil() as i32;
        let all = powers.flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power)));
        all.filter(|tick| (self.from..=self.to).contains(&tick.log10())).collect()
    }
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        // What is below a logarithmic axis, such as nothing at all, lies at its end.
        let share = ((self.place(*value) - self.from) / (self.to - self.from)).max(0.0);
        first + (share * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        let value = |place: f64| if self.log { 10_f64.powf(place) } else { place };
        value(self.from)..value(self.to)
    }
}

/// Axes that hold all of a curve.
fn axes(curve: &Curve) -> (Axis, Axis) {
    let points = || curve.series.iter().flat_map(|series| &series.points);
    let mut xs: Vec<f64> = points().map(|point| point.x).collect();
    xs.sort_by(f64::total_cmp);
    xs.dedup();
    let x = Axis::new(curve.x_names.is_empty(), &xs, Some(xs.clone()));
    let mut ys: Vec<f64> = points().flat_map(|point| [point.lowest, point.highest]).collect();
    if curve.log_y {
        ys.retain(|y| *y > 0.0);
        return (x, Axis::new(true, &ys, None));
    }
    ys.push(0.0);
    let most = ys.iter().copied().fold(0.0, f64::max);
    let step = step_of(most);
    let ticks = std::iter::successors(Some(0.0), |tick| Some(tick + step)).take_while(|tick| *tick <= most);
    let ticks = ticks.collect();
    (x, Axis::new(false, &ys, Some(ticks)))
}

/// A round distance of about five ticks up to `most`.
fn step_of(most: f64) -> f64 {
    const TICKS: f64 = 5.0;
    let rough = most / TICKS;
    let power = 10_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0].map(|step| step * power).into_iter().find(|step| *step >= rough).unwrap_or(10.0 * power)
}

/// Draws a curve to a file of its name.
pub(crate) fn draw(curve: &Curve) {
    let mut svg = String::new();
    {
        let root =
            SVGBackend::with_string(&mut svg, (WIDTH_PIXELS.cast_unsigned(), HEIGHT_PIXELS.cast_unsigned()))
                .into_drawing_area();
        let rows = (curve.series.len() as i32 + LEGEND_COLUMNS - 1) / LEGEND_COLUMNS;
        let (head, body) = root.split_vertically(HEAD_PIXELS + rows * LEGEND_ROW_PIXELS);
        draw_head(&head, curve);
        draw_body(&body, curve);
        root.present().unwrap();
    }
    let head_end = svg.find('>').unwrap() + 1;
    svg.insert_str(head_end, STYLE);
    fs::create_dir_all(DIR).unwrap();
    let file = Path::new(DIR).join(format!("{}.svg", curve.name));
    fs::write(&file, svg).unwrap();
    println!("{}", file.display());
}

fn font(pixels: u32) -> TextStyle<'static> {
    ("sans-serif", pixels).into_font().color(&GREY)
}

fn color(series: usize) -> RGBColor {
    COLORS[series % COLORS.len()]
}

/// The title, and what each line is.
fn draw_head(area: &Area<'_>, curve: &Curve) {
    let title = font(TITLE_FONT_PIXELS).pos(Pos::new(HPos::Left, VPos::Top));
    area.draw(&Text::new(curve.title.clone(), (MARGIN_PIXELS, MARGIN_PIXELS / 2), title)).unwrap();
    let column = WIDTH_PIXELS / LEGEND_COLUMNS;
    for (index, series) in curve.series.iter().enumerate() {
        let place = index as i32;
        let x = MARGIN_PIXELS + place % LEGEND_COLUMNS * column;
        let y = HEAD_PIXELS + place / LEGEND_COLUMNS * LEGEND_ROW_PIXELS + LEGEND_ROW_PIXELS / 2;
        let line = [(x, y), (x + SWATCH_PIXELS, y)];
        area.draw(&PathElement::new(line, color(index).stroke_width(2))).unwrap();
        area.draw(&Circle::new((x + SWATCH_PIXELS / 2, y), POINT_RADIUS_PIXELS, color(index).filled()))
            .unwrap();
        let name = font(FONT_PIXELS).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(series.name.clone(), (x + SWATCH_PIXELS + MARGIN_PIXELS / 2, y), name)).unwrap();
    }
}

fn draw_body(area: &Area<'_>, curve: &Curve) {
    let (x, y) = axes(curve);
    let mut chart = ChartBuilder::on(area)
        .margin(MARGIN_PIXELS)
        .margin_right(RIGHT_MARGIN_PIXELS)
        .x_label_area_size(X_LABEL_AREA_PIXELS)
        .y_label_area_size(Y_LABEL_AREA_PIXELS)
        .build_cartesian_2d(x, y)
        .unwrap();
    let x_name = |place: &f64| curve.x_name(*place);
    let y_name = |value: &f64| if *value < 1e4 { value.to_string() } else { short_count(*value) };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GREY.mix(0.3))
        .axis_style(GREY)
        .label_style(font(FONT_PIXELS))
        .axis_desc_style(font(FONT_PIXELS))
        .x_desc(curve.x_label.clone())
        .y_desc(curve.y_label.clone())
        .x_label_formatter(&x_name)
        .y_label_formatter(&y_name)
        .draw()
        .unwrap();
    for (index, series) in curve.series.iter().enumerate() {
        let at = |value: fn(&Point) -> f64| -> Vec<(f64, f64)> {
            series.points.iter().map(|point| (point.x, value(point))).collect()
        };
        let mut band = at(|point| point.lowest);
        band.extend(at(|point| point.highest).into_iter().rev());
        chart.draw_series([Polygon::new(band, color(index).mix(BAND_OPACITY).filled())]).unwrap();
        let line = at(|point| point.median);
        chart.draw_series(LineSeries::new(line.clone(), color(index).stroke_width(2))).unwrap();
        let points = line.into_iter().map(|at| Circle::new(at, POINT_RADIUS_PIXELS, color(index).filled()));
        chart.draw_series(points).unwrap();
    }
}
