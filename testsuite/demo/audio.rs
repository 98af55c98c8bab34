//! The audio of the demo: WAV files in and out, G.711 mu-law on the wire (ITU-T G.711).

use crate::call::Heard;
use hound::{SampleFormat, WavReader, WavSpec, WavWriter};
use millrace_testsuite::tone::{from_mu_law, to_mu_law};
use std::f64::consts::TAU;
use std::path::{Path, PathBuf};

const RATE_HZ: u32 = 8000;
const FRAME_SAMPLES: usize = 160;
const SPEC: WavSpec =
    WavSpec { channels: 1, sample_rate: RATE_HZ, bits_per_sample: 16, sample_format: SampleFormat::Int };

/// Ten seconds of Beethoven's Ode to Joy: frequency in Hz and length in quarter seconds.
const MELODY: [(f64, u32); 15] = [
    (329.6, 3),
    (329.6, 3),
    (349.2, 3),
    (392.0, 3),
    (392.0, 3),
    (349.2, 3),
    (329.6, 3),
    (293.7, 3),
    (261.6, 3),
    (261.6, 3),
    (293.7, 2),
    (329.6, 2),
    (329.6, 3),
    (293.7, 1),
    (293.7, 2),
];

/// Writes the melody as a WAV file.
pub fn write_melody(path: &Path) -> Result<(), String> {
    let mut samples = Vec::new();
    for (frequency_hz, quarters) in MELODY {
        let length = quarters * RATE_HZ / 4;
        samples.extend((0..length).map(|sample| {
            let decay = 1.0 - 0.8 * f64::from(sample) / f64::from(length);
            ((f64::from(sample) * frequency_hz * TAU / f64::from(RATE_HZ)).sin() * decay * 12_000.0) as i16
        }));
    }
    write(path, &samples)
}

/// Reads a WAV file and cuts it into G.711 frames of 20 ms; the last one is filled up with silence.
pub fn frames(path: &Path) -> Result<Vec<Vec<u8>>, String> {
    let place = path.display();
    let mut reader = WavReader::open(path).map_err(|error| format!("{place}: {error}"))?;
    if reader.spec() != SPEC {
        return Err(format!("{place}: the demo sends WAV files of 8 kHz, mono, 16 bit only"));
    }
    let samples: Vec<i16> = reader.samples().collect::<Result<_, _>>().map_err(|error| format!("{place}: {error}"))?;
    if samples.is_empty() || samples.len() > 60 * RATE_HZ as usize {
        return Err(format!("{place}: the demo sends between one sample and one minute"));
    }
    let mut bytes: Vec<u8> = samples.into_iter().map(to_mu_law).collect();
    bytes.resize(bytes.len().next_multiple_of(FRAME_SAMPLES), to_mu_law(0));
    Ok(bytes.chunks(FRAME_SAMPLES).map(<[u8]>::to_vec).collect())
}

/// Writes what one side heard; gaps are silence.
pub fn write_heard(folder: &Path, heard: &Heard) -> Result<PathBuf, String> {
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let path = folder.join(format!("heard-by-{}.wav", heard.listener));
    let silence = vec![to_mu_law(0); FRAME_SAMPLES];
    let frames = heard.frames.iter().map(|frame| frame.as_ref().unwrap_or(&silence));
    let samples: Vec<i16> = frames.flatten().map(|byte| from_mu_law(*byte)).collect();
    write(&path, &samples)?;
    Ok(path)
}

fn write(path: &Path, samples: &[i16]) -> Result<(), String> {
    let fault = |error: hound::Error| format!("{}: {error}", path.display());
    let mut writer = WavWriter::create(path, SPEC).map_err(fault)?;
    for sample in samples {
        writer.write_sample(*sample).map_err(fault)?;
    }
    writer.finalize().map_err(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_melody_lasts_ten_seconds() {
        assert_eq!(MELODY.iter().map(|(_, quarters)| quarters).sum::<u32>(), 40);
    }
}
