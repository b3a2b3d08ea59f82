//! The UTC offsets of Windows time zones.
//!
//! Duty: for the zone names that backup policies carry (`Policy::time_zone`), the smallest and the largest UTC offset in
//! use, winter and summer time together. Source: the names and offsets that Windows documents ("Default time zones").
//! Invariant: a range may be too wide, never too small. A zone whose rules changed in the last years, or that changes its
//! clock by decree, has the wider range. A name that is not here is not guessed: the caller takes [`EVERY_OFFSET`].
//! Only `UTC` has the exact offset by definition.

/// UTC offsets in minutes, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetRange {
    /// The smallest: farthest west.
    pub min_minutes: i64,
    /// The largest: farthest east, or summer time.
    pub max_minutes: i64,
}

/// Every UTC offset any zone has: -12:00 to +14:00.
pub const EVERY_OFFSET: OffsetRange = OffsetRange { min_minutes: -12 * 60, max_minutes: 14 * 60 };

/// Offsets of a Windows zone by its name, without case; `None` for a name that is not in the table.
#[must_use]
pub fn windows_zone(name: &str) -> Option<OffsetRange> {
    let name = name.trim();
    ZONES
        .iter()
        .find(|(zone, ..)| zone.eq_ignore_ascii_case(name))
        .map(|(_, min, max)| OffsetRange { min_minutes: *min, max_minutes: *max })
}

/// Name, smallest and largest offset in minutes.
#[rustfmt::skip]
const ZONES: &[(&str, i64, i64)] = &[
    ("UTC", 0, 0),
    ("Coordinated Universal Time", 0, 0),
    ("Dateline Standard Time", -720, -720),
    ("UTC-11", -660, -660),
    ("Aleutian Standard Time", -600, -540),
    ("Hawaiian Standard Time", -600, -600),
    ("Marquesas Standard Time", -570, -570),
    ("Alaskan Standard Time", -540, -480),
    ("UTC-09", -540, -540),
    ("Pacific Standard Time (Mexico)", -480, -420),
    ("UTC-08", -480, -480),
    ("Pacific Standard Time", -480, -420),
    ("US Mountain Standard Time", -420, -420),
    ("Mountain Standard Time (Mexico)", -420, -360),
    ("Mountain Standard Time", -420, -360),
    ("Yukon Standard Time", -480, -420),
    ("Central America Standard Time", -360, -360),
    ("Central Standard Time", -360, -300),
    ("Easter Island Standard Time", -360, -300),
    ("Central Standard Time (Mexico)", -360, -300),
    ("Canada Central Standard Time", -360, -360),
    ("SA Pacific Standard Time", -300, -300),
    ("Eastern Standard Time (Mexico)", -360, -240),
    ("Eastern Standard Time", -300, -240),
    ("Haiti Standard Time", -300, -240),
    ("Cuba Standard Time", -300, -240),
    ("US Eastern Standard Time", -300, -240),
    ("Turks And Caicos Standard Time", -300, -240),
    ("Paraguay Standard Time", -240, -180),
    ("Atlantic Standard Time", -240, -180),
    ("Venezuela Standard Time", -270, -240),
    ("Central Brazilian Standard Time", -240, -180),
    ("SA Western Standard Time", -240, -240),
    ("Pacific SA Standard Time", -240, -180),
    ("Newfoundland Standard Time", -210, -150),
    ("Tocantins Standard Time", -180, -120),
    ("E. South America Standard Time", -180, -120),
    ("SA Eastern Standard Time", -180, -180),
    ("Argentina Standard Time", -180, -120),
    ("Greenland Standard Time", -180, -60),
    ("Montevideo Standard Time", -180, -120),
    ("Magallanes Standard Time", -240, -180),
    ("Saint Pierre Standard Time", -180, -120),
    ("Bahia Standard Time", -180, -120),
    ("UTC-02", -120, -120),
    ("Mid-Atlantic Standard Time", -120, -60),
    ("Azores Standard Time", -60, 0),
    ("Cape Verde Standard Time", -60, -60),
    ("GMT Standard Time", 0, 60),
    ("Greenwich Standard Time", 0, 0),
    ("Sao Tome Standard Time", 0, 60),
    ("Morocco Standard Time", 0, 60),
    ("W. Europe Standard Time", 60, 120),
    ("Central Europe Standard Time", 60, 120),
    ("Romance Standard Time", 60, 120),
    ("Central European Standard Time", 60, 120),
    ("W. Central Africa Standard Time", 60, 60),
    ("Namibia Standard Time", 60, 120),
    ("Jordan Standard Time", 120, 180),
    ("GTB Standard Time", 120, 180),
    ("Middle East Standard Time", 120, 180),
    ("Egypt Standard Time", 120, 180),
    ("E. Europe Standard Time", 120, 180),
    ("Syria Standard Time", 120, 180),
    ("West Bank Standard Time", 120, 180),
    ("South Africa Standard Time", 120, 120),
    ("FLE Standard Time", 120, 180),
    ("Israel Standard Time", 120, 180),
    ("South Sudan Standard Time", 120, 180),
    ("Kaliningrad Standard Time", 120, 180),
    ("Sudan Standard Time", 120, 180),
    ("Libya Standard Time", 60, 180),
    ("Arabic Standard Time", 180, 240),
    ("Turkey Standard Time", 120, 180),
    ("Arab Standard Time", 180, 180),
    ("Belarus Standard Time", 180, 180),
    ("Russian Standard Time", 180, 240),
    ("E. Africa Standard Time", 180, 180),
    ("Volgograd Standard Time", 180, 240),
    ("Iran Standard Time", 210, 270),
    ("Arabian Standard Time", 240, 240),
    ("Astrakhan Standard Time", 180, 240),
    ("Azerbaijan Standard Time", 240, 300),
    ("Russia Time Zone 3", 240, 240),
    ("Mauritius Standard Time", 240, 300),
    ("Saratov Standard Time", 180, 240),
    ("Georgian Standard Time", 240, 240),
    ("Caucasus Standard Time", 240, 300),
    ("Afghanistan Standard Time", 270, 270),
    ("West Asia Standard Time", 300, 300),
    ("Qyzylorda Standard Time", 300, 360),
    ("Ekaterinburg Standard Time", 300, 360),
    ("Pakistan Standard Time", 300, 360),
    ("India Standard Time", 330, 330),
    ("Sri Lanka Standard Time", 330, 330),
    ("Nepal Standard Time", 345, 345),
    ("Central Asia Standard Time", 300, 360),
    ("Bangladesh Standard Time", 360, 420),
    ("Omsk Standard Time", 360, 420),
    ("Myanmar Standard Time", 390, 390),
    ("SE Asia Standard Time", 420, 420),
    ("Altai Standard Time", 360, 420),
    ("W. Mongolia Standard Time", 420, 480),
    ("North Asia Standard Time", 420, 480),
    ("N. Central Asia Standard Time", 360, 420),
    ("Tomsk Standard Time", 360, 420),
    ("China Standard Time", 480, 480),
    ("North Asia East Standard Time", 480, 540),
    ("Singapore Standard Time", 480, 480),
    ("W. Australia Standard Time", 480, 540),
    ("Taipei Standard Time", 480, 480),
    ("Ulaanbaatar Standard Time", 480, 540),
    ("North Korea Standard Time", 510, 540),
    ("Aus Central W. Standard Time", 525, 525),
    ("Transbaikal Standard Time", 480, 540),
    ("Tokyo Standard Time", 540, 540),
    ("Korea Standard Time", 540, 540),
    ("Yakutsk Standard Time", 540, 600),
    ("Cen. Australia Standard Time", 570, 630),
    ("AUS Central Standard Time", 570, 570),
    ("E. Australia Standard Time", 600, 600),
    ("AUS Eastern Standard Time", 600, 660),
    ("West Pacific Standard Time", 600, 600),
    ("Tasmania Standard Time", 600, 660),
    ("Vladivostok Standard Time", 600, 660),
    ("Lord Howe Standard Time", 630, 660),
    ("Bougainville Standard Time", 660, 660),
    ("Russia Time Zone 10", 660, 660),
    ("Magadan Standard Time", 600, 720),
    ("Norfolk Standard Time", 660, 720),
    ("Sakhalin Standard Time", 600, 660),
    ("Central Pacific Standard Time", 660, 660),
    ("Russia Time Zone 11", 720, 720),
    ("New Zealand Standard Time", 720, 780),
    ("UTC+12", 720, 720),
    ("Fiji Standard Time", 720, 780),
    ("Kamchatka Standard Time", 720, 780),
    ("Chatham Islands Standard Time", 765, 825),
    ("UTC+13", 780, 780),
    ("Tonga Standard Time", 780, 840),
    ("Samoa Standard Time", 780, 840),
    ("Line Islands Standard Time", 840, 840),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sane() {
        for (name, min, max) in ZONES {
            assert!(min <= max, "{name}");
            assert!(*min >= EVERY_OFFSET.min_minutes && *max <= EVERY_OFFSET.max_minutes, "{name}");
            assert!(max - min <= 120 && min % 15 == 0 && max % 15 == 0, "{name}");
            assert_eq!(ZONES.iter().filter(|(other, ..)| other.eq_ignore_ascii_case(name)).count(), 1, "{name}");
        }
    }

    #[test]
    fn names_are_found_without_case_and_never_guessed() {
        assert_eq!(windows_zone("utc"), Some(OffsetRange { min_minutes: 0, max_minutes: 0 }));
        assert_eq!(windows_zone("korea standard time"), Some(OffsetRange { min_minutes: 540, max_minutes: 540 }));
        for unknown in ["", "Europe/Berlin", "Korea", "GMT"] {
            assert_eq!(windows_zone(unknown), None, "{unknown}");
        }
    }
}
