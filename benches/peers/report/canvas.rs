//! What plots are drawn with: a white page measured in pixels, words, bars and scales, in colours that everybody can tell apart.

use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Pixels from the left edge to where bars begin; the names of the peers are before it.
pub const LEFT: f64 = 130.0;
/// Pixels across a page.
const WIDTH: f64 = 860.0;
/// Pixels at the right edge for a number behind the longest bar, and for three of them.
const ONE_NUMBER: f64 = 80.0;
const NUMBERS: f64 = 170.0;

const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
const FAINT: RGBColor = RGBColor(0x66, 0x66, 0x66);
const LINE: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);

type Coordinates = Cartesian2d<RangedCoordf64, RangedCoordf64>;

/// A page; `y` counts from the top.
pub struct Canvas<'a> {
    area: DrawingArea<SVGBackend<'a>, Coordinates>,
}

/// Where words are put, seen from the point that is given.
#[derive(Clone, Copy)]
pub enum At {
    RightOf,
    LeftOf,
    Middle,
}

/// How words look.
#[derive(Clone, Copy)]
pub enum Look {
    Title,
    Heading,
    Plain,
    Faint,
}

impl<'a> Canvas<'a> {
    /// An empty page of a height.
    pub fn new(path: &'a Path, height: u32) -> Self {
        let size = (860, height);
        let area: DrawingArea<_, Shift> = SVGBackend::new(path, size).into_drawing_area();
        // Readers with a dark background see a white page as well, or dark words would vanish.
        area.fill(&WHITE).expect("draw");
        let across = i32::try_from(size.0).expect("a width");
        let down = i32::try_from(height).expect("a height");
        let own =
            Coordinates::new(0.0..f64::from(across), 0.0..f64::from(down), (0..across, 0..down));
        Self { area: area.apply_coord_spec(own) }
    }

    pub fn words(&self, words: &str, point: (f64, f64), at: At, look: Look) {
        let (size, colour) = match look {
            Look::Title => (18.0, INK),
            Look::Heading => (14.0, INK),
            Look::Plain => (12.0, INK),
            Look::Faint => (12.0, FAINT),
        };
        let style = match look {
            Look::Title | Look::Heading => FontStyle::Bold,
            Look::Plain | Look::Faint => FontStyle::Normal,
        };
        let side = match at {
            At::RightOf => HPos::Left,
            At::LeftOf => HPos::Right,
            At::Middle => HPos::Center,
        };
        let font = FontDesc::new(FontFamily::SansSerif, size, style);
        let style = TextStyle::from(font).color(&colour).pos(Pos::new(side, VPos::Center));
        self.area.draw(&Text::new(words.to_owned(), point, style)).expect("draw");
    }

    pub fn bar(&self, from: (f64, f64), to: (f64, f64), colour: RGBColor) {
        self.area.draw(&Rectangle::new([from, to], colour.filled())).expect("draw");
    }

    pub fn line(&self, from: (f64, f64), to: (f64, f64), strong: bool) {
        let style = if strong { FAINT.stroke_width(1) } else { LINE.stroke_width(1) };
        self.area.draw(&PathElement::new(vec![from, to], style)).expect("draw");
    }

    pub fn stroke(&self, from: (f64, f64), to: (f64, f64), colour: RGBColor) {
        self.area.draw(&PathElement::new(vec![from, to], colour.stroke_width(3))).expect("draw");
    }

    pub fn dot(&self, point: (f64, f64), radius: i32, colour: RGBColor) {
        self.area.draw(&Circle::new(point, radius, colour.filled())).expect("draw");
    }

    pub fn done(self) {
        self.area.present().expect("write the plot");
    }
}

/// The colours of Okabe and Ito, which the colour-blind can tell apart. Names stand beside all of them none the less.
pub fn colour(peer: &str) -> RGBColor {
    match peer {
        "nginx" => RGBColor(0x00, 0x9e, 0x73),
        "haproxy" => RGBColor(0x00, 0x72, 0xb2),
        "haproxy-jwt" => RGBColor(0x56, 0xb4, 0xe9),
        "caddy" => RGBColor(0xe6, 0x9f, 0x00),
        "pingora" => RGBColor(0xcc, 0x79, 0xa7),
        "portico" => RGBColor(0xd5, 0x5e, 0x00),
        _ => RGBColor(0x99, 0x99, 0x99),
    }
}

/// Pixels for values.
#[derive(Clone, Copy)]
pub struct Scale {
    from: f64,
    to: f64,
    logarithmic: bool,
    /// Pixels from the left edge to its end.
    pub end: f64,
}

impl Scale {
    pub fn linear(to: f64) -> Self {
        Self { from: 0.0, to, logarithmic: false, end: WIDTH - ONE_NUMBER }
    }

    /// From one power of ten to another.
    pub fn logarithmic(least: f64, most: f64) -> Self {
        let (from, to) = (least.log10().floor(), most.log10().ceil());
        Self { from, to: to.max(from + 1.0), logarithmic: true, end: WIDTH - NUMBERS }
    }

    /// Where a value is, from left; one that is off the scale is at its end.
    pub fn at(&self, value: f64) -> f64 {
        let value = if self.logarithmic { value.log10() } else { value };
        let part = ((value - self.from) / (self.to - self.from)).clamp(0.0, 1.0);
        LEFT + part * (self.end - LEFT)
    }

    pub fn holds(&self, value: f64) -> bool {
        self.logarithmic || value <= self.to
    }

    /// The values that are written under it.
    pub fn ticks(&self) -> Vec<f64> {
        let step = if self.logarithmic { 1.0 } else { step(self.to - self.from) };
        let mut ticks = Vec::new();
        let mut tick = self.from;
        while tick <= self.to + step / 100.0 {
            ticks.push(if self.logarithmic { 10_f64.powf(tick) } else { tick });
            tick += step;
        }
        ticks
    }
}

/// 1, 2 or 5 times a power of ten, such that about six of them make up a range.
fn step(range: f64) -> f64 {
    let power = 10_f64.powf((range / 6.0).log10().floor());
    let fits = |times: &&f64| range / (**times * power) <= 8.0;
    [1.0, 2.0, 5.0].iter().find(fits).unwrap_or(&10.0) * power
}
