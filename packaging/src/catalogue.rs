//! Security catalogues: a certificate trust list with a member for each file, in a PKCS #7 shell that a signer fills.
//!
//! Form: what `makecat` writes, member for member. Version 2 has two members for a file, one under its SHA-1 and one under its
//! SHA-256; version 1 has one under the SHA-1 in text.

use anyhow::{Context, Result, ensure};
use authenticode::authenticode_digest;
use cms::{
    cert::x509::{attr::Attribute, spki::AlgorithmIdentifierOwned},
    content_info::{CmsVersion, ContentInfo},
    signed_data::{EncapsulatedContentInfo, SignedData, SignerInfos},
};
use der::{
    Any, Decode, Encode, Sequence, Tag, TagMode, TagNumber,
    asn1::{
        BitString, BmpString, ContextSpecific, Null, ObjectIdentifier, OctetString, SetOfVec,
        UtcTime,
    },
};
use object::read::pe::PeFile64;
use sha1::Sha1;
use sha2::{Digest, Sha256};

const SIGNED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.2");
/// `szOID_CTL`.
const TRUST_LIST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.10.1");
/// `szOID_CATALOG_LIST`.
const CATALOGUE_LIST: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.12.1.1");
/// `szOID_CATALOG_LIST_MEMBER` and `..._V2`.
const MEMBERS_V1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.12.1.2");
const MEMBERS_V2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.12.1.3");
/// `CAT_NAMEVALUE_OBJID`.
const NAME_VALUE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.12.2.1");
/// `CAT_MEMBERINFO_OBJID` and `CAT_MEMBERINFO2_OBJID`.
const MEMBER_INFO_V1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.12.2.2");
const MEMBER_INFO_V2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.12.2.3");
/// `SPC_INDIRECT_DATA_OBJID`, `SPC_PE_IMAGE_DATA_OBJID`, `SPC_CAB_DATA_OBJID` (which catalogues use for flat files).
const INDIRECT_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.4");
const IMAGE_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.15");
const FLAT_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.2.1.25");
const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");

/// Authenticated, plain text, the name is text: what the definition files of `makecat` say.
const NAME_VALUE_FLAGS: u32 = 0x1001_0001;
/// The subject interface packages that hash images and flat files.
const IMAGE_SUBJECT: &str = "{C689AAB8-8E78-11D0-8C47-00C04FC295EE}";
const FLAT_SUBJECT: &str = "{DE351A42-8E59-11D0-8C47-00C04FC295EE}";

/// How a file is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A PE image: without its checksum and its signature.
    Image,
    /// All bytes.
    Flat,
}

/// The form of the members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// SHA-1 only: what Windows 7 knows, and what was still issued for Windows 10.
    V1,
    /// SHA-256 beside SHA-1.
    V2,
}

/// A file as a catalogue sees it.
pub struct File {
    name: String,
    kind: Kind,
    sha1: [u8; 20],
    sha256: [u8; 32],
}

impl File {
    /// Hashes a file.
    ///
    /// # Errors
    ///
    /// The contents are no 64-bit PE image though `kind` says so.
    pub fn new(name: &str, kind: Kind, contents: &[u8]) -> Result<Self> {
        let (mut sha1, mut sha256) = (Sha1::new(), Sha256::new());
        match kind {
            Kind::Flat => {
                sha1.update(contents);
                sha256.update(contents);
            }
            Kind::Image => {
                let image = PeFile64::parse(contents)
                    .with_context(|| format!("{name} is no 64-bit PE image"))?;
                for digest in [&mut sha1 as &mut dyn sha2::digest::Update, &mut sha256] {
                    authenticode_digest(&image, digest)
                        .map_err(|error| anyhow::anyhow!("cannot hash {name}: {error}"))?;
                }
                // An image that is not signed is padded to 8 bytes when it is.
                let padding = vec![0; contents.len().next_multiple_of(8) - contents.len()];
                sha1.update(&padding);
                sha256.update(&padding);
            }
        }
        Ok(Self {
            name: name.to_lowercase(),
            kind,
            sha1: sha1.finalize().into(),
            sha256: sha256.finalize().into(),
        })
    }

    /// The tags under which a catalogue of the newest or the older version lists the file.
    #[must_use]
    pub fn tags(&self) -> [Vec<u8>; 2] {
        [self.sha256.to_vec(), text(&hexadecimal(&self.sha1))]
    }
}

/// What a catalogue is for.
pub struct Scope<'a> {
    /// Versions of Windows, `2:10.0` for example.
    pub attribute: &'a str,
    /// Inf2Cat's name of the system, `_v100_X64` for example.
    pub system: &'a str,
    /// When it was made, in seconds since 1970.
    pub time: u64,
}

/// `CTL` of [MS-CAESO], as far as catalogues use it.
#[derive(Sequence)]
struct TrustList {
    subject_usage: Vec<ObjectIdentifier>,
    identifier: OctetString,
    this_update: UtcTime,
    subject_algorithm: AlgorithmIdentifierOwned,
    subjects: Vec<Member>,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    extensions: Vec<Extension>,
}

#[derive(Sequence)]
struct Member {
    tag: OctetString,
    attributes: SetOfVec<Attribute>,
}

#[derive(Sequence)]
struct Extension {
    kind: ObjectIdentifier,
    value: OctetString,
}

#[derive(Sequence)]
struct NameValue {
    name: BmpString,
    flags: u32,
    value: OctetString,
}

#[derive(Sequence)]
struct MemberInfo {
    subject: BmpString,
    version: u32,
}

#[derive(Sequence)]
struct IndirectData {
    data: TypedData,
    digest: DigestInfo,
}

#[derive(Sequence)]
struct TypedData {
    kind: ObjectIdentifier,
    value: Any,
}

#[derive(Sequence)]
struct ImageData {
    flags: BitString,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    file: Any,
}

#[derive(Sequence)]
struct DigestInfo {
    algorithm: AlgorithmIdentifierOwned,
    digest: OctetString,
}

/// Returns the catalogue of `files`, without a signature.
///
/// # Errors
///
/// No files, or a value that DER cannot express.
pub fn unsigned(files: &[File], scope: &Scope<'_>, version: Version) -> Result<Vec<u8>> {
    ensure!(!files.is_empty(), "a catalogue of no files");
    let mut members = Vec::new();
    for file in files {
        match version {
            Version::V1 => members.push(member_v1(file, scope)?),
            Version::V2 => members.extend(members_v2(file, scope)?),
        }
    }
    members.sort_by(|one, other| one.tag.as_bytes().cmp(other.tag.as_bytes()));
    let mut identifier = Sha256::new();
    for file in files {
        identifier.update(file.sha256);
    }
    let list = TrustList {
        subject_usage: vec![CATALOGUE_LIST],
        identifier: OctetString::new(&identifier.finalize()[..16])?,
        this_update: UtcTime::from_unix_duration(std::time::Duration::from_secs(scope.time))?,
        subject_algorithm: algorithm(match version {
            Version::V1 => MEMBERS_V1,
            Version::V2 => MEMBERS_V2,
        })?,
        subjects: members,
        extensions: vec![
            extension("OSAttr", scope.attribute)?,
            extension("OS", scope.system)?,
        ],
    };
    let signed_data = SignedData {
        version: CmsVersion::V1,
        digest_algorithms: SetOfVec::new(),
        encap_content_info: EncapsulatedContentInfo {
            econtent_type: TRUST_LIST,
            econtent: Some(Any::encode_from(&list)?),
        },
        certificates: None,
        crls: None,
        signer_infos: SignerInfos(SetOfVec::new()),
    };
    let content = ContentInfo {
        content_type: SIGNED_DATA,
        content: Any::encode_from(&signed_data)?,
    };
    Ok(content.to_der()?)
}

/// Reads the tags of the members of a catalogue, signed or not.
///
/// # Errors
///
/// It is no catalogue.
pub fn tags(catalogue: &[u8]) -> Result<Vec<Vec<u8>>> {
    let content = ContentInfo::from_der(catalogue).context("no PKCS #7")?;
    let signed_data: SignedData = content.content.decode_as().context("no signed data")?;
    let list: TrustList = signed_data
        .encap_content_info
        .econtent
        .context("no contents")?
        .decode_as()
        .context("no trust list")?;
    Ok(list
        .subjects
        .into_iter()
        .map(|member| member.tag.into_bytes())
        .collect())
}

fn member_v1(file: &File, scope: &Scope<'_>) -> Result<Member> {
    let info = MemberInfo {
        subject: BmpString::from_utf8(match file.kind {
            Kind::Image => IMAGE_SUBJECT,
            Kind::Flat => FLAT_SUBJECT,
        })?,
        version: 0x200,
    };
    member(
        &text(&hexadecimal(&file.sha1)),
        vec![
            attribute(MEMBER_INFO_V1, Any::encode_from(&info)?)?,
            attribute(NAME_VALUE, name_value("File", &file.name)?)?,
            attribute(NAME_VALUE, name_value("OSAttr", scope.attribute)?)?,
            attribute(INDIRECT_DATA, indirect_data(file.kind, SHA1, &file.sha1)?)?,
        ],
    )
}

fn members_v2(file: &File, scope: &Scope<'_>) -> Result<[Member; 2]> {
    let number = match file.kind {
        Kind::Image => TagNumber::N0,
        Kind::Flat => TagNumber::N2,
    };
    let info = || attribute(MEMBER_INFO_V2, empty(number)?);
    Ok([
        member(&file.sha1, vec![info()?])?,
        member(
            &file.sha256,
            vec![
                info()?,
                attribute(NAME_VALUE, name_value("File", &file.name)?)?,
                attribute(NAME_VALUE, name_value("OSAttr", scope.attribute)?)?,
                attribute(
                    INDIRECT_DATA,
                    indirect_data(file.kind, SHA256, &file.sha256)?,
                )?,
            ],
        )?,
    ])
}

fn member(tag: &[u8], attributes: Vec<Attribute>) -> Result<Member> {
    Ok(Member {
        tag: OctetString::new(tag)?,
        attributes: SetOfVec::try_from(attributes)?,
    })
}

fn attribute(oid: ObjectIdentifier, value: Any) -> Result<Attribute> {
    Ok(Attribute {
        oid,
        values: SetOfVec::try_from(vec![value])?,
    })
}

fn extension(name: &str, value: &str) -> Result<Extension> {
    Ok(Extension {
        kind: NAME_VALUE,
        value: OctetString::new(name_value(name, value)?.to_der()?)?,
    })
}

fn name_value(name: &str, value: &str) -> Result<Any> {
    Ok(Any::encode_from(&NameValue {
        name: BmpString::from_utf8(name)?,
        flags: NAME_VALUE_FLAGS,
        value: OctetString::new(text(value))?,
    })?)
}

fn indirect_data(kind: Kind, hash: ObjectIdentifier, digest: &[u8]) -> Result<Any> {
    // `SpcLink` with an empty file name: where the data would be, were it not the file itself.
    let link = ContextSpecific {
        tag_number: TagNumber::N2,
        tag_mode: TagMode::Explicit,
        value: empty(TagNumber::N0)?,
    };
    let link = Any::encode_from(&link)?;
    let data = match kind {
        Kind::Flat => TypedData {
            kind: FLAT_DATA,
            value: link,
        },
        Kind::Image => TypedData {
            kind: IMAGE_DATA,
            value: Any::encode_from(&ImageData {
                flags: BitString::new(5, [0xA0])?,
                file: link,
            })?,
        },
    };
    Ok(Any::encode_from(&IndirectData {
        data,
        digest: DigestInfo {
            algorithm: algorithm(hash)?,
            digest: OctetString::new(digest)?,
        },
    })?)
}

fn empty(number: TagNumber) -> Result<Any> {
    let tag = Tag::ContextSpecific {
        constructed: false,
        number,
    };
    Ok(Any::new(tag, [])?)
}

fn algorithm(oid: ObjectIdentifier) -> Result<AlgorithmIdentifierOwned> {
    Ok(AlgorithmIdentifierOwned {
        oid,
        parameters: Some(Any::encode_from(&Null)?),
    })
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// UTF-16LE with a terminator.
fn text(text: &str) -> Vec<u8> {
    text.encode_utf16()
        .chain([0])
        .flat_map(u16::to_le_bytes)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Catalogues of one flat file, made by another implementation that was compared with Microsoft's.
    #[test]
    fn known_catalogues_come_out_bit_for_bit() -> Result<()> {
        let scope = Scope {
            attribute: "2:10.0",
            system: "_v100_X64",
            time: 1_795_000_000,
        };
        for (version, length, hash) in [
            (
                Version::V2,
                521,
                "f0808aa52f6088c86a01fa532285a19d027d5c061a2a8de8f37c16a144ead63c",
            ),
            (
                Version::V1,
                595,
                "1e04789c1c9449faa22d6607d3fd439e6abfe7f71048076e9becea6eb26df089",
            ),
        ] {
            let file = File::new("a.inf", Kind::Flat, b"abc")?;
            let catalogue = unsigned(&[file], &scope, version)?;
            assert_eq!(catalogue.len(), length, "{version:?}");
            let found = hexadecimal(&Sha256::digest(&catalogue));
            assert_eq!(found.to_lowercase(), hash, "{version:?}");
        }
        Ok(())
    }

    #[test]
    fn members_are_sorted_by_tag() -> Result<()> {
        let scope = Scope {
            attribute: "2:10.0",
            system: "_v100_X64",
            time: 1_795_000_000,
        };
        let files = [
            File::new("a", Kind::Flat, b"one")?,
            File::new("b", Kind::Flat, b"two")?,
        ];
        let tags = tags(&unsigned(&files, &scope, Version::V2)?)?;
        assert_eq!(tags.len(), 4);
        assert!(tags.is_sorted());
        for file in files {
            assert!(tags.contains(&file.tags()[0]));
        }
        Ok(())
    }
}
