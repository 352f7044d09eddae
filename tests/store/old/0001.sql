BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE event (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	at VARCHAR(32) NOT NULL, 
	actor TEXT NOT NULL, 
	sample_id VARCHAR(16) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	payload JSON NOT NULL, 
	version INTEGER NOT NULL, 
	CONSTRAINT event_sample_version UNIQUE (sample_id, version)
);
INSERT INTO "event" VALUES(1,'2026-11-26T10:58:31.243945+00:00','ann','ba7579f10a5a64b5','imported','{"image_sha": "2ca9347e095df739adf9dfe200b7f88e8f6bf212b7541af6cb487da40f786f12", "width": 24, "height": 20, "notes": [], "caption": "", "source": "/photos/beach_1.png", "concept": "cat", "name": "beach_1"}',1);
INSERT INTO "event" VALUES(2,'2026-11-26T10:58:31.336560+00:00','policy','ba7579f10a5a64b5','proposed','{"proposals": [{"rle": {"size": [20, 24], "counts": [104, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 270]}, "box_xywh": [5, 4, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}, {"rle": {"size": [20, 24], "counts": [105, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 269]}, "box_xywh": [5, 5, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}], "chosen": 0, "preset": "tiny", "mask_sha": "1befa7c72ef0495f016b5f01a2f290101204bdf7db96e1af0e1f33a595ee3d71"}',2);
INSERT INTO "event" VALUES(3,'2026-11-26T10:58:31.376253+00:00','policy','ba7579f10a5a64b5','filled','{"image_sha": "04d2e3c3e2c73b485e66db217e915bc7ac3ad1ebc0f95cd5491812ed6e743270", "mask_sha": "679a7568dc64f49d6ae0e582a4203092c88035642f4217690157558b3f859d3b", "settings": {"dilate_px": 1, "prompt": "sand", "negative_prompt": "", "seed": 99}, "made_by": "lama-small", "scores": {"d": {"score": 0.5, "variant": "paper", "warnings": []}, "s": {"score": 0.75, "variant": "paper", "warnings": []}, "low": false, "words": ["what was there changed inside the mask"], "thresholds": {"low_d": 0.35, "low_s": 0.6}}}',3);
INSERT INTO "event" VALUES(4,'2026-11-26T10:58:31.394461+00:00','ann','ba7579f10a5a64b5','accepted','{"how": "human"}',4);
INSERT INTO "event" VALUES(5,'2026-11-26T10:58:31.398408+00:00','lea','ba7579f10a5a64b5','reviewed','{"verdict": "approved", "event": 4}',5);
INSERT INTO "event" VALUES(6,'2026-11-26T10:58:31.402630+00:00','ann','a019f9c18f09a990','imported','{"image_sha": "9c64079de0d9ad3b8b3e548c0a9b5e8fcc82ea5baaf887a4bb2ff64ceda99992", "width": 24, "height": 20, "notes": [], "caption": "", "source": "/photos/beach_2.png", "concept": "cat", "name": "beach_2"}',1);
INSERT INTO "event" VALUES(7,'2026-11-26T10:58:31.406176+00:00','policy','a019f9c18f09a990','proposed','{"proposals": [{"rle": {"size": [20, 24], "counts": [104, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 270]}, "box_xywh": [5, 4, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}, {"rle": {"size": [20, 24], "counts": [105, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 269]}, "box_xywh": [5, 5, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}], "chosen": 0, "preset": "tiny", "mask_sha": "1befa7c72ef0495f016b5f01a2f290101204bdf7db96e1af0e1f33a595ee3d71"}',2);
INSERT INTO "event" VALUES(8,'2026-11-26T10:58:31.415476+00:00','policy','a019f9c18f09a990','filled','{"image_sha": "a4f8e04a02bac0c9e18144f040e73751b3ed45859999d2458979171e7cb82ff5", "mask_sha": "679a7568dc64f49d6ae0e582a4203092c88035642f4217690157558b3f859d3b", "settings": {"dilate_px": 1, "prompt": "sand", "negative_prompt": "", "seed": 99}, "made_by": "lama-small", "scores": {"d": {"score": 0.5, "variant": "paper", "warnings": []}, "s": {"score": 0.75, "variant": "paper", "warnings": []}, "low": false, "words": ["what was there changed inside the mask"], "thresholds": {"low_d": 0.35, "low_s": 0.6}}}',3);
INSERT INTO "event" VALUES(9,'2026-11-26T10:58:31.440236+00:00','ann','a019f9c18f09a990','refined','{"image_sha": "d901799deefdb7a7105b8aa84a97f38c71f82ed14e230778d0ea92d15b82ed4d", "mask_sha": "679a7568dc64f49d6ae0e582a4203092c88035642f4217690157558b3f859d3b", "settings": {"dilate_px": 1, "prompt": "sand", "negative_prompt": "", "seed": 3}, "made_by": "lama-small", "scores": {"d": {"score": 0.3, "variant": "paper", "warnings": []}, "s": {"score": 0.75, "variant": "paper", "warnings": []}, "low": false, "words": ["what was there changed inside the mask"], "thresholds": {"low_d": 0.35, "low_s": 0.6}}}',4);
INSERT INTO "event" VALUES(10,'2026-11-26T10:58:31.443189+00:00','ann','a019f9c18f09a990','chosen','{"try": 0, "made_by_event": 8}',5);
INSERT INTO "event" VALUES(11,'2026-11-26T10:58:31.463930+00:00','ann','a019f9c18f09a990','mask_edited','{"mask_sha": "8b4a91bd17b1532f75c8bf9cded8ae72ffc2c0138cc1ec9e2b207bef3710aae8", "how": "brush"}',6);
INSERT INTO "event" VALUES(12,'2026-11-26T10:58:31.474922+00:00','ann','a019f9c18f09a990','chosen','{"index": 1, "mask_sha": "3bdba2dd4cc75957a6cd007316c6bdaeab2c536dd418e38d3dafbbb9f68f78c4"}',7);
INSERT INTO "event" VALUES(13,'2026-11-26T10:58:31.483090+00:00','bob','a019f9c18f09a990','rejected','{"reason": "cut"}',8);
INSERT INTO "event" VALUES(14,'2026-11-26T10:58:31.491300+00:00','bob','a019f9c18f09a990','undone','{"event": 13}',9);
INSERT INTO "event" VALUES(15,'2026-11-26T10:58:31.505458+00:00','ann','11bd2bfafa940560','imported','{"image_sha": "b284fde09f88aff7473e5f593d0924b9cd891d96ff93127480802256807a0dce", "width": 24, "height": 20, "notes": [], "caption": "", "source": "/photos/beach_3.png", "concept": "cat", "name": "beach_3"}',1);
INSERT INTO "event" VALUES(16,'2026-11-26T10:58:31.514042+00:00','policy','11bd2bfafa940560','proposed','{"proposals": [{"rle": {"size": [20, 24], "counts": [104, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 270]}, "box_xywh": [5, 4, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}, {"rle": {"size": [20, 24], "counts": [105, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 269]}, "box_xywh": [5, 5, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}], "chosen": null, "preset": "tiny", "novelty": 0.4}',2);
INSERT INTO "event" VALUES(17,'2026-11-26T10:58:31.518534+00:00','ann','11bd2bfafa940560','skipped','{}',3);
INSERT INTO "event" VALUES(18,'2026-11-26T10:58:31.533557+00:00','ann','bbcf7275b2ff9bd1','imported','{"image_sha": "39fe591a5832560633ff768a51a198ba4d86c691c8bcb73e02ede5d855eb0749", "width": 24, "height": 20, "notes": [], "caption": "", "source": "/photos/beach_4.png", "concept": "cat", "name": "beach_4"}',1);
INSERT INTO "event" VALUES(19,'2026-11-26T10:58:31.543039+00:00','policy','bbcf7275b2ff9bd1','proposed','{"proposals": [{"rle": {"size": [20, 24], "counts": [104, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 270]}, "box_xywh": [5, 4, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}, {"rle": {"size": [20, 24], "counts": [105, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 269]}, "box_xywh": [5, 5, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}], "chosen": 0, "preset": "tiny", "mask_sha": "1befa7c72ef0495f016b5f01a2f290101204bdf7db96e1af0e1f33a595ee3d71"}',2);
INSERT INTO "event" VALUES(20,'2026-11-26T10:58:31.584434+00:00','policy','bbcf7275b2ff9bd1','filled','{"image_sha": "4fd6aedd255c3a79afbb5b0294cd947b65aecdd2325d507cb80998c956683471", "mask_sha": "679a7568dc64f49d6ae0e582a4203092c88035642f4217690157558b3f859d3b", "settings": {"dilate_px": 1, "prompt": "sand", "negative_prompt": "", "seed": 99}, "made_by": "lama-small", "scores": {"d": {"score": 0.5, "variant": "paper", "warnings": []}, "s": {"score": 0.75, "variant": "paper", "warnings": []}, "low": false, "words": ["what was there changed inside the mask"], "thresholds": {"low_d": 0.35, "low_s": 0.6}}}',3);
INSERT INTO "event" VALUES(21,'2026-11-26T10:58:31.589871+00:00','ann','bbcf7275b2ff9bd1','flagged','{}',4);
INSERT INTO "event" VALUES(22,'2026-11-26T10:58:31.595270+00:00','ann','bbcf7275b2ff9bd1','commented','{"text": "\u00dcnsicher \u732b"}',5);
INSERT INTO "event" VALUES(23,'2026-11-26T10:58:31.597339+00:00','ann','d4140bb88e60a0a7','imported','{"image_sha": null, "error": "bad.png cannot be read", "source": "/photos/bad.png", "concept": "cat", "name": "bad"}',1);
INSERT INTO "event" VALUES(24,'2026-11-26T10:58:31.609865+00:00','lea','c209ba6772de2ccd','imported','{"image_sha": "2ca9347e095df739adf9dfe200b7f88e8f6bf212b7541af6cb487da40f786f12", "width": 24, "height": 20, "notes": [], "caption": "", "twin_of": "ba7579f10a5a64b5", "source": "", "concept": "cat", "twin_number": 2, "name": "twin"}',1);
INSERT INTO "event" VALUES(25,'2026-11-26T10:58:31.629394+00:00','ann','0a2e39def588b377','imported','{"image_sha": "d819a1e9a23266e2874554ac76dae381d763d8bd985bc84a282fd21ef4b20091", "width": 24, "height": 20, "notes": ["turned"], "caption": "a dog", "lineage": {"foreground": "ba7579f10a5a64b5", "background": "a019f9c18f09a990", "place": [1, 2]}, "source": "", "concept": "dog", "name": "merged"}',1);
INSERT INTO "event" VALUES(26,'2026-11-26T10:58:31.635921+00:00','ann','3b6d2e1254ccae16','imported','{"image_sha": "d3bae83da41bb527a2f1a7ee4203c2a46229ba255788338d30565f58030e0bad", "width": 24, "height": 20, "notes": [], "caption": "", "source": "/photos/beach_5.png", "concept": "cat", "name": "beach_5"}',1);
INSERT INTO "event" VALUES(27,'2026-11-26T10:58:31.644750+00:00','policy','3b6d2e1254ccae16','proposed','{"proposals": [{"rle": {"size": [20, 24], "counts": [104, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 270]}, "box_xywh": [5, 4, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}, {"rle": {"size": [20, 24], "counts": [105, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 269]}, "box_xywh": [5, 5, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}], "chosen": 0, "preset": "tiny", "mask_sha": "1befa7c72ef0495f016b5f01a2f290101204bdf7db96e1af0e1f33a595ee3d71"}',2);
INSERT INTO "event" VALUES(28,'2026-11-26T10:58:31.663643+00:00','policy','3b6d2e1254ccae16','filled','{"image_sha": "47d75359954b8c7ae1681815393ebc820d2d99c966f6f8ec879dc2811a0b5c16", "mask_sha": "679a7568dc64f49d6ae0e582a4203092c88035642f4217690157558b3f859d3b", "settings": {"dilate_px": 1, "prompt": "sand", "negative_prompt": "", "seed": 99}, "made_by": "lama-small", "scores": {"d": {"score": 0.5, "variant": "paper", "warnings": []}, "s": {"score": 0.75, "variant": "paper", "warnings": []}, "low": false, "words": ["what was there changed inside the mask"], "thresholds": {"low_d": 0.35, "low_s": 0.6}}}',3);
INSERT INTO "event" VALUES(29,'2026-11-26T10:58:31.666953+00:00','ann','3b6d2e1254ccae16','relabelled','{"concept": "dog", "name": "beach_5", "before": "cat"}',4);
INSERT INTO "event" VALUES(30,'2026-11-26T10:58:31.682611+00:00','ann','315be99dee9a9e04','imported','{"image_sha": "311ce0a9524ebe956bd37bfd0485448aac9c6930ecad1549241009afe5ba3180", "width": 24, "height": 20, "notes": [], "caption": "", "source": "/photos/beach_6.png", "concept": "cat", "name": "beach_6"}',1);
INSERT INTO "event" VALUES(31,'2026-11-26T10:58:31.687880+00:00','policy','315be99dee9a9e04','proposed','{"proposals": [{"rle": {"size": [20, 24], "counts": [104, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 270]}, "box_xywh": [5, 4, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}, {"rle": {"size": [20, 24], "counts": [105, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 269]}, "box_xywh": [5, 5, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}], "chosen": 0, "preset": "tiny", "mask_sha": "1befa7c72ef0495f016b5f01a2f290101204bdf7db96e1af0e1f33a595ee3d71"}',2);
INSERT INTO "event" VALUES(32,'2026-11-26T10:58:31.707625+00:00','policy','315be99dee9a9e04','filled','{"image_sha": "7775797c5f75b1a365f838e6dbf02fbc99efae2198605b25d73b67fbe53dbdc5", "mask_sha": "679a7568dc64f49d6ae0e582a4203092c88035642f4217690157558b3f859d3b", "settings": {"dilate_px": 1, "prompt": "sand", "negative_prompt": "", "seed": 99}, "made_by": "lama-small", "scores": {"d": {"score": 0.5, "variant": "paper", "warnings": []}, "s": {"score": 0.75, "variant": "paper", "warnings": []}, "low": false, "words": ["what was there changed inside the mask"], "thresholds": {"low_d": 0.35, "low_s": 0.6}}}',3);
INSERT INTO "event" VALUES(33,'2026-11-26T10:58:31.709499+00:00','ann','315be99dee9a9e04','accepted','{"how": "human"}',4);
INSERT INTO "event" VALUES(34,'2026-11-26T10:58:31.713566+00:00','lea','315be99dee9a9e04','reviewed','{"verdict": "returned", "text": "again", "event": 33}',5);
INSERT INTO "event" VALUES(35,'2026-11-26T10:58:31.735421+00:00','ann','a2405cd531e798e7','imported','{"image_sha": "bc5a0aef538da73cdf877eb7bf44d2826b7dde0d0e6c4aeda0aafeeb4ce198a3", "width": 24, "height": 20, "notes": [], "caption": "", "source": "/photos/beach_7.png", "concept": "cat", "name": "beach_7"}',1);
INSERT INTO "event" VALUES(36,'2026-11-26T10:58:31.741982+00:00','ann','a2405cd531e798e7','deleted','{}',2);
CREATE TABLE lease (
	sample_id VARCHAR(16) NOT NULL, 
	holder TEXT NOT NULL, 
	until FLOAT NOT NULL, 
	PRIMARY KEY (sample_id)
);
CREATE TABLE sample (
	id VARCHAR(16) NOT NULL, 
	seq BIGINT NOT NULL, 
	concept TEXT NOT NULL, 
	identity TEXT NOT NULL, 
	name TEXT NOT NULL, 
	name_key TEXT NOT NULL, 
	state VARCHAR(16) NOT NULL, 
	version INTEGER NOT NULL, 
	image_sha VARCHAR(64), 
	width INTEGER, 
	height INTEGER, 
	source TEXT NOT NULL, 
	caption TEXT NOT NULL, 
	notes JSON NOT NULL, 
	error TEXT, 
	chosen INTEGER, 
	mask_sha VARCHAR(64), 
	picked_try INTEGER, 
	score_d FLOAT, 
	score_s FLOAT, 
	variant VARCHAR(32), 
	low BOOLEAN, 
	decided_by TEXT, 
	decided_how VARCHAR(16), 
	decided_event BIGINT, 
	comment TEXT, 
	updated_at VARCHAR(32) NOT NULL, 
	tries JSON NOT NULL, 
	proposals JSON NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT sample_concept_identity UNIQUE (concept, identity), 
	CONSTRAINT sample_concept_name UNIQUE (concept, name_key)
);
CREATE INDEX sample_seq ON sample (seq);
CREATE INDEX sample_state_seq ON sample (state, seq);
CREATE INDEX sample_concept_state_seq ON sample (concept, state, seq);
CREATE INDEX sample_concept_seq ON sample (concept, seq);
CREATE INDEX sample_decided ON sample (decided_by, decided_event);
CREATE INDEX lease_holder ON lease (holder);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('event',36);
COMMIT;
