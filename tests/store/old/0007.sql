BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0007');
CREATE TABLE event (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	at VARCHAR(32) NOT NULL, 
	actor TEXT NOT NULL, 
	sample_id VARCHAR(16) NOT NULL, 
	kind VARCHAR(16) NOT NULL, 
	payload JSON NOT NULL, 
	version INTEGER NOT NULL, digest VARCHAR(64), 
	CONSTRAINT event_sample_version UNIQUE (sample_id, version)
);
INSERT INTO "event" VALUES(1,'2026-11-26T10:58:31.243945+00:00','ann','ba7579f10a5a64b5','imported','{"image_sha": "2ca9347e095df739adf9dfe200b7f88e8f6bf212b7541af6cb487da40f786f12", "width": 24, "height": 20, "notes": [], "caption": "", "source": "/photos/beach_1.png", "concept": "cat", "name": "beach_1"}',1,'f387f5b70d23639ac39ea4a1ec050253d44c50ddf09822ecaa3581ce1c49de30');
INSERT INTO "event" VALUES(2,'2026-11-26T10:58:31.336560+00:00','policy','ba7579f10a5a64b5','proposed','{"proposals": [{"rle": {"size": [20, 24], "counts": [104, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 270]}, "box_xywh": [5, 4, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}, {"rle": {"size": [20, 24], "counts": [105, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 269]}, "box_xywh": [5, 5, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}], "chosen": 0, "preset": "tiny", "mask_sha": "1befa7c72ef0495f016b5f01a2f290101204bdf7db96e1af0e1f33a595ee3d71"}',2,'6306c3d7e5ee67e18e18fb1fb7cd4503ab4ab733c507dc904da3d6212a61425c');
INSERT INTO "event" VALUES(3,'2026-11-26T10:58:31.376253+00:00','policy','ba7579f10a5a64b5','filled','{"image_sha": "04d2e3c3e2c73b485e66db217e915bc7ac3ad1ebc0f95cd5491812ed6e743270", "mask_sha": "679a7568dc64f49d6ae0e582a4203092c88035642f4217690157558b3f859d3b", "settings": {"dilate_px": 1, "prompt": "sand", "negative_prompt": "", "seed": 99}, "made_by": "lama-small", "scores": {"d": {"score": 0.5, "variant": "paper", "warnings": []}, "s": {"score": 0.75, "variant": "paper", "warnings": []}, "low": false, "words": ["what was there changed inside the mask"], "thresholds": {"low_d": 0.35, "low_s": 0.6}}}',3,'3d6d6903e37399f491e5c84e64e93dc1cbec0f6a2df896a3baf3a1a199bea8f3');
INSERT INTO "event" VALUES(4,'2026-11-26T10:58:31.394461+00:00','ann','ba7579f10a5a64b5','accepted','{"how": "human"}',4,'284d2798e5a19e6cba26984af618a69429cefd000ac432520484490ed44a9a1b');
INSERT INTO "event" VALUES(5,'2026-11-26T10:58:31.398408+00:00','lea','ba7579f10a5a64b5','reviewed','{"verdict": "approved", "event": 4}',5,'7133d32ed8a23b8bc3121efa15b095d7c9561aa3a83cdac25fb90f6f1ce42cd0');
INSERT INTO "event" VALUES(6,'2026-11-26T10:58:31.402630+00:00','ann','a019f9c18f09a990','imported','{"image_sha": "9c64079de0d9ad3b8b3e548c0a9b5e8fcc82ea5baaf887a4bb2ff64ceda99992", "width": 24, "height": 20, "notes": [], "caption": "", "source": "/photos/beach_2.png", "concept": "cat", "name": "beach_2"}',1,'b5c8206f9df020b681747ab9f4bbfc7040f9ffbb8bb1a8f03226e82026d9701d');
INSERT INTO "event" VALUES(7,'2026-11-26T10:58:31.406176+00:00','policy','a019f9c18f09a990','proposed','{"proposals": [{"rle": {"size": [20, 24], "counts": [104, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 270]}, "box_xywh": [5, 4, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}, {"rle": {"size": [20, 24], "counts": [105, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 269]}, "box_xywh": [5, 5, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}], "chosen": 0, "preset": "tiny", "mask_sha": "1befa7c72ef0495f016b5f01a2f290101204bdf7db96e1af0e1f33a595ee3d71"}',2,'eb7933710265efb47016632e0833f8234711f7e76c3cd0dfbe157003d8956c53');
INSERT INTO "event" VALUES(8,'2026-11-26T10:58:31.415476+00:00','policy','a019f9c18f09a990','filled','{"image_sha": "a4f8e04a02bac0c9e18144f040e73751b3ed45859999d2458979171e7cb82ff5", "mask_sha": "679a7568dc64f49d6ae0e582a4203092c88035642f4217690157558b3f859d3b", "settings": {"dilate_px": 1, "prompt": "sand", "negative_prompt": "", "seed": 99}, "made_by": "lama-small", "scores": {"d": {"score": 0.5, "variant": "paper", "warnings": []}, "s": {"score": 0.75, "variant": "paper", "warnings": []}, "low": false, "words": ["what was there changed inside the mask"], "thresholds": {"low_d": 0.35, "low_s": 0.6}}}',3,'77e2fba005a9e25747a3a4c62402c5fc570d859e25a9b5bd77cae3d7a1bc1e57');
INSERT INTO "event" VALUES(9,'2026-11-26T10:58:31.440236+00:00','ann','a019f9c18f09a990','refined','{"image_sha": "d901799deefdb7a7105b8aa84a97f38c71f82ed14e230778d0ea92d15b82ed4d", "mask_sha": "679a7568dc64f49d6ae0e582a4203092c88035642f4217690157558b3f859d3b", "settings": {"dilate_px": 1, "prompt": "sand", "negative_prompt": "", "seed": 3}, "made_by": "lama-small", "scores": {"d": {"score": 0.3, "variant": "paper", "warnings": []}, "s": {"score": 0.75, "variant": "paper", "warnings": []}, "low": false, "words": ["what was there changed inside the mask"], "thresholds": {"low_d": 0.35, "low_s": 0.6}}}',4,'77d836b2b3f870768047eadc4ff5af752bcafe6249b079e8d7303a9680197f03');
INSERT INTO "event" VALUES(10,'2026-11-26T10:58:31.443189+00:00','ann','a019f9c18f09a990','chosen','{"try": 0, "made_by_event": 8}',5,'75d3d81caeaaab1b23df35310af51164469073b7f225a1f5aefb4020a03fd1ec');
INSERT INTO "event" VALUES(11,'2026-11-26T10:58:31.463930+00:00','ann','a019f9c18f09a990','mask_edited','{"mask_sha": "8b4a91bd17b1532f75c8bf9cded8ae72ffc2c0138cc1ec9e2b207bef3710aae8", "how": "brush"}',6,'bbd9e34a759e9b8aeeb08ce4ea36859dcb744bf58dc9faabf086d57a39a04ac7');
INSERT INTO "event" VALUES(12,'2026-11-26T10:58:31.474922+00:00','ann','a019f9c18f09a990','chosen','{"index": 1, "mask_sha": "3bdba2dd4cc75957a6cd007316c6bdaeab2c536dd418e38d3dafbbb9f68f78c4"}',7,'51a169436dbdb686f4b7a7ae53a0c90c752c53e2082bf2a22cb4efb55e9a410b');
INSERT INTO "event" VALUES(13,'2026-11-26T10:58:31.483090+00:00','bob','a019f9c18f09a990','rejected','{"reason": "cut"}',8,'f0ef9924bf5ccff15190d42f673e3377bf561e48668e58e80956b4c2292ead49');
INSERT INTO "event" VALUES(14,'2026-11-26T10:58:31.491300+00:00','bob','a019f9c18f09a990','undone','{"event": 13}',9,'06b574532fe45584f31529c32d8013be09f4b27ea268bdafc5df9e89c2ed988a');
INSERT INTO "event" VALUES(15,'2026-11-26T10:58:31.505458+00:00','ann','11bd2bfafa940560','imported','{"image_sha": "b284fde09f88aff7473e5f593d0924b9cd891d96ff93127480802256807a0dce", "width": 24, "height": 20, "notes": [], "caption": "", "source": "/photos/beach_3.png", "concept": "cat", "name": "beach_3"}',1,'e6a3242075dd645833b13837725fae78b8630d3c31d54ca09910c635afcdf24e');
INSERT INTO "event" VALUES(16,'2026-11-26T10:58:31.514042+00:00','policy','11bd2bfafa940560','proposed','{"proposals": [{"rle": {"size": [20, 24], "counts": [104, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 270]}, "box_xywh": [5, 4, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}, {"rle": {"size": [20, 24], "counts": [105, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 269]}, "box_xywh": [5, 5, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}], "chosen": null, "preset": "tiny", "novelty": 0.4}',2,'8c22f7ea0e5f1577fcaecc372b5bd40545243e646349c44d423b63389884a5f5');
INSERT INTO "event" VALUES(17,'2026-11-26T10:58:31.518534+00:00','ann','11bd2bfafa940560','skipped','{}',3,'651b30c7106ebbd4f5f065224047f41f0388eaf0155cba627a850dc8069b1cb4');
INSERT INTO "event" VALUES(18,'2026-11-26T10:58:31.533557+00:00','ann','bbcf7275b2ff9bd1','imported','{"image_sha": "39fe591a5832560633ff768a51a198ba4d86c691c8bcb73e02ede5d855eb0749", "width": 24, "height": 20, "notes": [], "caption": "", "source": "/photos/beach_4.png", "concept": "cat", "name": "beach_4"}',1,'6011d8373d217ab22e698a117ff34622059ca442d5432b7406547e965d4a3460');
INSERT INTO "event" VALUES(19,'2026-11-26T10:58:31.543039+00:00','policy','bbcf7275b2ff9bd1','proposed','{"proposals": [{"rle": {"size": [20, 24], "counts": [104, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 270]}, "box_xywh": [5, 4, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}, {"rle": {"size": [20, 24], "counts": [105, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 269]}, "box_xywh": [5, 5, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}], "chosen": 0, "preset": "tiny", "mask_sha": "1befa7c72ef0495f016b5f01a2f290101204bdf7db96e1af0e1f33a595ee3d71"}',2,'0285d26cb914e5c461de4a5a1277ade4a1e9c0ef608b2da7eaada4df5168147a');
INSERT INTO "event" VALUES(20,'2026-11-26T10:58:31.584434+00:00','policy','bbcf7275b2ff9bd1','filled','{"image_sha": "4fd6aedd255c3a79afbb5b0294cd947b65aecdd2325d507cb80998c956683471", "mask_sha": "679a7568dc64f49d6ae0e582a4203092c88035642f4217690157558b3f859d3b", "settings": {"dilate_px": 1, "prompt": "sand", "negative_prompt": "", "seed": 99}, "made_by": "lama-small", "scores": {"d": {"score": 0.5, "variant": "paper", "warnings": []}, "s": {"score": 0.75, "variant": "paper", "warnings": []}, "low": false, "words": ["what was there changed inside the mask"], "thresholds": {"low_d": 0.35, "low_s": 0.6}}}',3,'35f44afaebfe0308e9c2145ea270139121926cd29de6a90383c284e7f45e52d8');
INSERT INTO "event" VALUES(21,'2026-11-26T10:58:31.589871+00:00','ann','bbcf7275b2ff9bd1','flagged','{}',4,'2266dc2361e74c4df3cf3e2e735cf1feff1c37dd791848eac88aeff18d352d7f');
INSERT INTO "event" VALUES(22,'2026-11-26T10:58:31.595270+00:00','ann','bbcf7275b2ff9bd1','commented','{"text": "\u00dcnsicher \u732b"}',5,'f1fc5c0377daf001a02ae6e73c322bd75ded961d2aca65ad27b215f960eb341b');
INSERT INTO "event" VALUES(23,'2026-11-26T10:58:31.597339+00:00','ann','d4140bb88e60a0a7','imported','{"image_sha": null, "error": "bad.png cannot be read", "source": "/photos/bad.png", "concept": "cat", "name": "bad"}',1,'9a55960cb987089f7746dc3a9be330b731cb87960796e891436e03ba8119507a');
INSERT INTO "event" VALUES(24,'2026-11-26T10:58:31.609865+00:00','lea','c209ba6772de2ccd','imported','{"image_sha": "2ca9347e095df739adf9dfe200b7f88e8f6bf212b7541af6cb487da40f786f12", "width": 24, "height": 20, "notes": [], "caption": "", "twin_of": "ba7579f10a5a64b5", "source": "", "concept": "cat", "twin_number": 2, "name": "twin"}',1,'309c89451287830beea5211568da04d4970ae56ac85be8e82eae5a2fac8ac1e5');
INSERT INTO "event" VALUES(25,'2026-11-26T10:58:31.629394+00:00','ann','0a2e39def588b377','imported','{"image_sha": "d819a1e9a23266e2874554ac76dae381d763d8bd985bc84a282fd21ef4b20091", "width": 24, "height": 20, "notes": ["turned"], "caption": "a dog", "lineage": {"foreground": "ba7579f10a5a64b5", "background": "a019f9c18f09a990", "place": [1, 2]}, "source": "", "concept": "dog", "name": "merged"}',1,'756ddead46f5ac06991dc15290281d116ed129f6b9140fcf68e765bbbb3fcf18');
INSERT INTO "event" VALUES(26,'2026-11-26T10:58:31.635921+00:00','ann','3b6d2e1254ccae16','imported','{"image_sha": "d3bae83da41bb527a2f1a7ee4203c2a46229ba255788338d30565f58030e0bad", "width": 24, "height": 20, "notes": [], "caption": "", "source": "/photos/beach_5.png", "concept": "cat", "name": "beach_5"}',1,'38f4dadd93e8f65cb1363923e45ab32581c20c006bb7899ed7dc5c1ef99a408b');
INSERT INTO "event" VALUES(27,'2026-11-26T10:58:31.644750+00:00','policy','3b6d2e1254ccae16','proposed','{"proposals": [{"rle": {"size": [20, 24], "counts": [104, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 270]}, "box_xywh": [5, 4, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}, {"rle": {"size": [20, 24], "counts": [105, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 269]}, "box_xywh": [5, 5, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}], "chosen": 0, "preset": "tiny", "mask_sha": "1befa7c72ef0495f016b5f01a2f290101204bdf7db96e1af0e1f33a595ee3d71"}',2,'51330e1bc8ed1dd82075b753e57022875b54db3de6e63f764e80a708969e8a4f');
INSERT INTO "event" VALUES(28,'2026-11-26T10:58:31.663643+00:00','policy','3b6d2e1254ccae16','filled','{"image_sha": "47d75359954b8c7ae1681815393ebc820d2d99c966f6f8ec879dc2811a0b5c16", "mask_sha": "679a7568dc64f49d6ae0e582a4203092c88035642f4217690157558b3f859d3b", "settings": {"dilate_px": 1, "prompt": "sand", "negative_prompt": "", "seed": 99}, "made_by": "lama-small", "scores": {"d": {"score": 0.5, "variant": "paper", "warnings": []}, "s": {"score": 0.75, "variant": "paper", "warnings": []}, "low": false, "words": ["what was there changed inside the mask"], "thresholds": {"low_d": 0.35, "low_s": 0.6}}}',3,'01c73946a813cea310382723c0d7c541e6cdc38bdf52a8d6390db9d99630feb8');
INSERT INTO "event" VALUES(29,'2026-11-26T10:58:31.666953+00:00','ann','3b6d2e1254ccae16','relabelled','{"concept": "dog", "name": "beach_5", "before": "cat"}',4,'44f8eecc3618c9898424b9e2d330f43e83db6a1655b60e6d5d8f14471ca1dfcc');
INSERT INTO "event" VALUES(30,'2026-11-26T10:58:31.682611+00:00','ann','315be99dee9a9e04','imported','{"image_sha": "311ce0a9524ebe956bd37bfd0485448aac9c6930ecad1549241009afe5ba3180", "width": 24, "height": 20, "notes": [], "caption": "", "source": "/photos/beach_6.png", "concept": "cat", "name": "beach_6"}',1,'99d4c9b17a57015aff1cce2dfe634addca3ee8c2e1b91940f3825fbb014b5630');
INSERT INTO "event" VALUES(31,'2026-11-26T10:58:31.687880+00:00','policy','315be99dee9a9e04','proposed','{"proposals": [{"rle": {"size": [20, 24], "counts": [104, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 270]}, "box_xywh": [5, 4, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}, {"rle": {"size": [20, 24], "counts": [105, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 269]}, "box_xywh": [5, 5, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}], "chosen": 0, "preset": "tiny", "mask_sha": "1befa7c72ef0495f016b5f01a2f290101204bdf7db96e1af0e1f33a595ee3d71"}',2,'09262d7fd3aeaea371e49f747e6dd32b2011545db7302842f8bf6d4e2cf8702c');
INSERT INTO "event" VALUES(32,'2026-11-26T10:58:31.707625+00:00','policy','315be99dee9a9e04','filled','{"image_sha": "7775797c5f75b1a365f838e6dbf02fbc99efae2198605b25d73b67fbe53dbdc5", "mask_sha": "679a7568dc64f49d6ae0e582a4203092c88035642f4217690157558b3f859d3b", "settings": {"dilate_px": 1, "prompt": "sand", "negative_prompt": "", "seed": 99}, "made_by": "lama-small", "scores": {"d": {"score": 0.5, "variant": "paper", "warnings": []}, "s": {"score": 0.75, "variant": "paper", "warnings": []}, "low": false, "words": ["what was there changed inside the mask"], "thresholds": {"low_d": 0.35, "low_s": 0.6}}}',3,'3d431d3f3e49ae3f4aa0ded071f0d4e3a238ace9332ec82aa36c08df5193e347');
INSERT INTO "event" VALUES(33,'2026-11-26T10:58:31.709499+00:00','ann','315be99dee9a9e04','accepted','{"how": "human"}',4,'7d76d34dd12aa8ed56de49d6f9bf3409bafc1fdd3a47cc43e37f7dd21ed4e471');
INSERT INTO "event" VALUES(34,'2026-11-26T10:58:31.713566+00:00','lea','315be99dee9a9e04','reviewed','{"verdict": "returned", "text": "again", "event": 33}',5,'e20ab57a02f27f8af0107c90f9bc2922e0422d4155e87efb3e4f9ed2c03d6db4');
INSERT INTO "event" VALUES(35,'2026-11-26T10:58:31.735421+00:00','ann','a2405cd531e798e7','imported','{"image_sha": "bc5a0aef538da73cdf877eb7bf44d2826b7dde0d0e6c4aeda0aafeeb4ce198a3", "width": 24, "height": 20, "notes": [], "caption": "", "source": "/photos/beach_7.png", "concept": "cat", "name": "beach_7"}',1,'88d1e07185cab9e4ca33f76cb7ebb100fb63b34bb26ae474b6d7c8a267f53eca');
INSERT INTO "event" VALUES(36,'2026-11-26T10:58:31.741982+00:00','ann','a2405cd531e798e7','deleted','{}',2,'02286150ba3b4c6f4dafe4899ad3192d4c74e2417522d4fd4da11d87b4a4f888');
CREATE TABLE job (
	id VARCHAR(16) NOT NULL, 
	kind VARCHAR(32) NOT NULL, 
	arguments JSON NOT NULL, 
	"by" TEXT NOT NULL, 
	heavy BOOLEAN NOT NULL, 
	created FLOAT NOT NULL, 
	host TEXT, 
	claimed FLOAT, 
	pid INTEGER, 
	process_start TEXT, 
	began FLOAT, 
	heartbeat FLOAT, 
	step INTEGER NOT NULL, 
	total INTEGER, 
	words TEXT NOT NULL, 
	subject TEXT, 
	stop_by TEXT, 
	ended FLOAT, 
	outcome VARCHAR(16), 
	result JSON, 
	error TEXT, digest VARCHAR(64), 
	PRIMARY KEY (id)
);
INSERT INTO "job" VALUES('d943dd6804188019','export','{"format": "coco"}','ann',0,1.79569071242239403727e+09,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL,'',NULL,NULL,1.79569071242563581465e+09,'done','{"n": 1}',NULL,'9ff36017d81785b59025cee5654589c54de010b513c59aae1e115ababe34e340');
CREATE TABLE lease (
	sample_id VARCHAR(16) NOT NULL, 
	holder TEXT NOT NULL, 
	until FLOAT NOT NULL, 
	PRIMARY KEY (sample_id)
);
INSERT INTO "lease" VALUES('11bd2bfafa940560','ann',1.79569101244304394726e+09);
CREATE TABLE look (
	concept TEXT NOT NULL, 
	model TEXT NOT NULL, 
	seq BIGINT NOT NULL, 
	image_sha VARCHAR(64) NOT NULL, 
	vector BLOB NOT NULL, digest VARCHAR(64), 
	PRIMARY KEY (concept, model, seq)
);
INSERT INTO "look" VALUES('cat','clip-small',1,'2ca9347e095df739adf9dfe200b7f88e8f6bf212b7541af6cb487da40f786f12',X'2837283B','5fc6d98cb35511210fdf92420b62a97091fdd060e19c5611f61bd67a23ad9c7e');
CREATE TABLE person (
	name TEXT NOT NULL, 
	name_key TEXT NOT NULL, 
	role VARCHAR(16) NOT NULL, 
	origin VARCHAR(16) NOT NULL, 
	password TEXT, 
	active BOOLEAN NOT NULL, 
	added_at VARCHAR(32) NOT NULL, digest VARCHAR(64), 
	PRIMARY KEY (name), 
	UNIQUE (name_key)
);
INSERT INTO "person" VALUES('ann','ann','lead','local','scrypt$32768$8$3$ff5bca1fbbf108f179b5827905beb65f$3c8181ef95f931cf19ac6c22848ea14ca4364037ba8031db3211d4327e0cae3f',1,'2026-11-26T10:58:32+00:00','e459a3bc162dc65ded16387d36b05825d8459f608f3850711d3d5d60cd7ddde1');
INSERT INTO "person" VALUES('bob','bob','curator','huggingface',NULL,1,'2026-11-26T10:58:32+00:00','07d8da9c166d733da2d6c1d3b06acf4492627cf2eb313a562d5c9ee16e80933a');
CREATE TABLE preference (
	person TEXT NOT NULL, 
	"key" VARCHAR(64) NOT NULL, 
	value JSON NOT NULL, digest VARCHAR(64), 
	PRIMARY KEY (person, "key")
);
INSERT INTO "preference" VALUES('ann','keys','{"accept": "y"}','9bbc56fd3697654342036e26bd6b0247f7ecdb96724d346f319902d523340437');
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
	clip_score FLOAT, 
	clip_margin FLOAT, 
	verdict VARCHAR(8), 
	disagreement FLOAT, 
	novelty FLOAT, 
	decided_at VARCHAR(32), 
	reviewed VARCHAR(16), 
	reviewed_by TEXT, 
	lineage JSON, 
	twin_of VARCHAR(16), 
	twin_number INTEGER, 
	tries JSON NOT NULL, 
	digest VARCHAR(64), 
	bulky_digest VARCHAR(64), 
	proposals JSON NOT NULL, 
	other_tries JSON, 
	PRIMARY KEY (id), 
	CONSTRAINT sample_concept_identity UNIQUE (concept, identity), 
	CONSTRAINT sample_concept_name UNIQUE (concept, name_key)
);
INSERT INTO "sample" VALUES('0a2e39def588b377',25,'dog','d819a1e9a23266e2874554ac76dae381d763d8bd985bc84a282fd21ef4b20091','merged','merged','new',1,'d819a1e9a23266e2874554ac76dae381d763d8bd985bc84a282fd21ef4b20091',24,20,'','a dog','["turned"]',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2026-11-26T10:58:31.629394+00:00',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{"foreground": "ba7579f10a5a64b5", "background": "a019f9c18f09a990", "place": [1, 2]}',NULL,NULL,'[]','553258422f2401305a3bf9a9e25a903bb364b7315530b7cafc21f624a510a0c9','aec8c9025ce6da5b3e317d7c2b9be5c743f6d48c32ad001cff67dbbfc9b70e38','[]','{}');
INSERT INTO "sample" VALUES('11bd2bfafa940560',15,'cat','b284fde09f88aff7473e5f593d0924b9cd891d96ff93127480802256807a0dce','beach_3','beach_3','skipped',3,'b284fde09f88aff7473e5f593d0924b9cd891d96ff93127480802256807a0dce',24,20,'/photos/beach_3.png','','[]',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'ann','human',17,NULL,'2026-11-26T10:58:31.518534+00:00',0.8,NULL,'yes',9.99999999999999777955e-02,0.4,'2026-11-26T10:58:31.518534+00:00',NULL,NULL,NULL,NULL,NULL,'[]','d4f345dfe59020f1ca80e5a096d58c4d7a0ed3c79ea7a38a935ad11b3fd3ea83','3ba632c583c40334f66c73013fdf904072115ea96f716f95b03452a66b06106b','[{"rle": {"size": [20, 24], "counts": [104, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 270]}, "box_xywh": [5, 4, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}, {"rle": {"size": [20, 24], "counts": [105, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 269]}, "box_xywh": [5, 5, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}]','{}');
INSERT INTO "sample" VALUES('315be99dee9a9e04',30,'cat','311ce0a9524ebe956bd37bfd0485448aac9c6930ecad1549241009afe5ba3180','beach_6','beach_6','prepared',5,'311ce0a9524ebe956bd37bfd0485448aac9c6930ecad1549241009afe5ba3180',24,20,'/photos/beach_6.png','','[]',NULL,0,'1befa7c72ef0495f016b5f01a2f290101204bdf7db96e1af0e1f33a595ee3d71',0,0.5,0.75,'paper',0,NULL,NULL,NULL,'again','2026-11-26T10:58:31.713566+00:00',0.8,NULL,'yes',9.99999999999999777955e-02,NULL,NULL,'returned','lea',NULL,NULL,NULL,'[{"image_sha": "7775797c5f75b1a365f838e6dbf02fbc99efae2198605b25d73b67fbe53dbdc5", "mask_sha": "679a7568dc64f49d6ae0e582a4203092c88035642f4217690157558b3f859d3b", "settings": {"dilate_px": 1, "prompt": "sand", "negative_prompt": "", "seed": 99}, "made_by": "lama-small", "scores": {"d": {"score": 0.5, "variant": "paper", "warnings": []}, "s": {"score": 0.75, "variant": "paper", "warnings": []}, "low": false, "words": ["what was there changed inside the mask"], "thresholds": {"low_d": 0.35, "low_s": 0.6}}, "kind": "filled", "by": "policy", "at": "2026-11-26T10:58:31.707625+00:00", "event": 32}]','6b372d50a891df6af599f5d3520ec41978d6b201cf6659c748f8b2456bf10728','3ba632c583c40334f66c73013fdf904072115ea96f716f95b03452a66b06106b','[{"rle": {"size": [20, 24], "counts": [104, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 270]}, "box_xywh": [5, 4, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}, {"rle": {"size": [20, 24], "counts": [105, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 269]}, "box_xywh": [5, 5, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}]','{}');
INSERT INTO "sample" VALUES('3b6d2e1254ccae16',26,'dog','d3bae83da41bb527a2f1a7ee4203c2a46229ba255788338d30565f58030e0bad','beach_5','beach_5','new',4,'d3bae83da41bb527a2f1a7ee4203c2a46229ba255788338d30565f58030e0bad',24,20,'/photos/beach_5.png','','[]',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2026-11-26T10:58:31.666953+00:00',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'[]','8878d095171f1e962c569d33a012e744b1051a02cbcb225502bf30acf788a730','8496b996530b63230c346e6a181fb2e7841d9803bcaa825f639098610313cb06','[]','{"1befa7c72ef0495f016b5f01a2f290101204bdf7db96e1af0e1f33a595ee3d71": {"tries": [{"image_sha": "47d75359954b8c7ae1681815393ebc820d2d99c966f6f8ec879dc2811a0b5c16", "mask_sha": "679a7568dc64f49d6ae0e582a4203092c88035642f4217690157558b3f859d3b", "settings": {"dilate_px": 1, "prompt": "sand", "negative_prompt": "", "seed": 99}, "made_by": "lama-small", "scores": {"d": {"score": 0.5, "variant": "paper", "warnings": []}, "s": {"score": 0.75, "variant": "paper", "warnings": []}, "low": false, "words": ["what was there changed inside the mask"], "thresholds": {"low_d": 0.35, "low_s": 0.6}}, "kind": "filled", "by": "policy", "at": "2026-11-26T10:58:31.663643+00:00", "event": 28}], "picked": 0}}');
INSERT INTO "sample" VALUES('a019f9c18f09a990',6,'cat','9c64079de0d9ad3b8b3e548c0a9b5e8fcc82ea5baaf887a4bb2ff64ceda99992','beach_2','beach_2','prepared',9,'9c64079de0d9ad3b8b3e548c0a9b5e8fcc82ea5baaf887a4bb2ff64ceda99992',24,20,'/photos/beach_2.png','','[]',NULL,1,'3bdba2dd4cc75957a6cd007316c6bdaeab2c536dd418e38d3dafbbb9f68f78c4',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2026-11-26T10:58:31.491300+00:00',0.8,NULL,'yes',9.99999999999999777955e-02,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'[]','af5e1a5a245cc2198f5efae41280bae2312c2357175edb364795d8fe872ce64c','85e7fff27bdc4e540eb09f069822922eb5784df3423fd6255fae3e5bf442a8d3','[{"rle": {"size": [20, 24], "counts": [104, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 270]}, "box_xywh": [5, 4, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}, {"rle": {"size": [20, 24], "counts": [105, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 269]}, "box_xywh": [5, 5, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}]','{"1befa7c72ef0495f016b5f01a2f290101204bdf7db96e1af0e1f33a595ee3d71": {"tries": [{"image_sha": "a4f8e04a02bac0c9e18144f040e73751b3ed45859999d2458979171e7cb82ff5", "mask_sha": "679a7568dc64f49d6ae0e582a4203092c88035642f4217690157558b3f859d3b", "settings": {"dilate_px": 1, "prompt": "sand", "negative_prompt": "", "seed": 99}, "made_by": "lama-small", "scores": {"d": {"score": 0.5, "variant": "paper", "warnings": []}, "s": {"score": 0.75, "variant": "paper", "warnings": []}, "low": false, "words": ["what was there changed inside the mask"], "thresholds": {"low_d": 0.35, "low_s": 0.6}}, "kind": "filled", "by": "policy", "at": "2026-11-26T10:58:31.415476+00:00", "event": 8}, {"image_sha": "d901799deefdb7a7105b8aa84a97f38c71f82ed14e230778d0ea92d15b82ed4d", "mask_sha": "679a7568dc64f49d6ae0e582a4203092c88035642f4217690157558b3f859d3b", "settings": {"dilate_px": 1, "prompt": "sand", "negative_prompt": "", "seed": 3}, "made_by": "lama-small", "scores": {"d": {"score": 0.3, "variant": "paper", "warnings": []}, "s": {"score": 0.75, "variant": "paper", "warnings": []}, "low": false, "words": ["what was there changed inside the mask"], "thresholds": {"low_d": 0.35, "low_s": 0.6}}, "kind": "refined", "by": "ann", "at": "2026-11-26T10:58:31.440236+00:00", "event": 9}], "picked": 0}}');
INSERT INTO "sample" VALUES('a2405cd531e798e7',35,'cat','bc5a0aef538da73cdf877eb7bf44d2826b7dde0d0e6c4aeda0aafeeb4ce198a3','beach_7','beach_7','deleted',2,'bc5a0aef538da73cdf877eb7bf44d2826b7dde0d0e6c4aeda0aafeeb4ce198a3',24,20,'/photos/beach_7.png','','[]',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'ann','human',36,NULL,'2026-11-26T10:58:31.741982+00:00',NULL,NULL,NULL,NULL,NULL,'2026-11-26T10:58:31.741982+00:00',NULL,NULL,NULL,NULL,NULL,'[]','4381be47e7d5f8065d10b1cfc202ab0e9435e574bcfe7dc9287559dc9e302fcd','aec8c9025ce6da5b3e317d7c2b9be5c743f6d48c32ad001cff67dbbfc9b70e38','[]','{}');
INSERT INTO "sample" VALUES('ba7579f10a5a64b5',1,'cat','2ca9347e095df739adf9dfe200b7f88e8f6bf212b7541af6cb487da40f786f12','beach_1','beach_1','accepted',5,'2ca9347e095df739adf9dfe200b7f88e8f6bf212b7541af6cb487da40f786f12',24,20,'/photos/beach_1.png','','[]',NULL,0,'1befa7c72ef0495f016b5f01a2f290101204bdf7db96e1af0e1f33a595ee3d71',0,0.5,0.75,'paper',0,'ann','human',4,NULL,'2026-11-26T10:58:31.398408+00:00',0.8,NULL,'yes',9.99999999999999777955e-02,NULL,'2026-11-26T10:58:31.394461+00:00','approved','lea',NULL,NULL,NULL,'[{"image_sha": "04d2e3c3e2c73b485e66db217e915bc7ac3ad1ebc0f95cd5491812ed6e743270", "mask_sha": "679a7568dc64f49d6ae0e582a4203092c88035642f4217690157558b3f859d3b", "settings": {"dilate_px": 1, "prompt": "sand", "negative_prompt": "", "seed": 99}, "made_by": "lama-small", "scores": {"d": {"score": 0.5, "variant": "paper", "warnings": []}, "s": {"score": 0.75, "variant": "paper", "warnings": []}, "low": false, "words": ["what was there changed inside the mask"], "thresholds": {"low_d": 0.35, "low_s": 0.6}}, "kind": "filled", "by": "policy", "at": "2026-11-26T10:58:31.376253+00:00", "event": 3}]','8736f321f457a0cc207aaefdd277bead7db07154502769eb0d2655d7ea27ef1b','3ba632c583c40334f66c73013fdf904072115ea96f716f95b03452a66b06106b','[{"rle": {"size": [20, 24], "counts": [104, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 270]}, "box_xywh": [5, 4, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}, {"rle": {"size": [20, 24], "counts": [105, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 269]}, "box_xywh": [5, 5, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}]','{}');
INSERT INTO "sample" VALUES('bbcf7275b2ff9bd1',18,'cat','39fe591a5832560633ff768a51a198ba4d86c691c8bcb73e02ede5d855eb0749','beach_4','beach_4','flagged',5,'39fe591a5832560633ff768a51a198ba4d86c691c8bcb73e02ede5d855eb0749',24,20,'/photos/beach_4.png','','[]',NULL,0,'1befa7c72ef0495f016b5f01a2f290101204bdf7db96e1af0e1f33a595ee3d71',0,0.5,0.75,'paper',0,'ann','human',21,'Ünsicher 猫','2026-11-26T10:58:31.595270+00:00',0.8,NULL,'yes',9.99999999999999777955e-02,NULL,'2026-11-26T10:58:31.589871+00:00',NULL,NULL,NULL,NULL,NULL,'[{"image_sha": "4fd6aedd255c3a79afbb5b0294cd947b65aecdd2325d507cb80998c956683471", "mask_sha": "679a7568dc64f49d6ae0e582a4203092c88035642f4217690157558b3f859d3b", "settings": {"dilate_px": 1, "prompt": "sand", "negative_prompt": "", "seed": 99}, "made_by": "lama-small", "scores": {"d": {"score": 0.5, "variant": "paper", "warnings": []}, "s": {"score": 0.75, "variant": "paper", "warnings": []}, "low": false, "words": ["what was there changed inside the mask"], "thresholds": {"low_d": 0.35, "low_s": 0.6}}, "kind": "filled", "by": "policy", "at": "2026-11-26T10:58:31.584434+00:00", "event": 20}]','61c0dd499ba0704c57cf00f8110d7a2bca9ba6d16750e618077c8f29db86ba23','3ba632c583c40334f66c73013fdf904072115ea96f716f95b03452a66b06106b','[{"rle": {"size": [20, 24], "counts": [104, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 270]}, "box_xywh": [5, 4, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}, {"rle": {"size": [20, 24], "counts": [105, 6, 14, 6, 14, 6, 14, 6, 14, 6, 14, 6, 269]}, "box_xywh": [5, 5, 6, 6], "predicted_iou": 0.9, "stability_score": 0.95, "score": 0.8, "verdict": {"yes": true, "confidence": 0.9, "reason": "a whole cat", "made_by": "clip"}, "made_by": "sam-small"}]','{}');
INSERT INTO "sample" VALUES('c209ba6772de2ccd',24,'cat','2ca9347e095df739adf9dfe200b7f88e8f6bf212b7541af6cb487da40f786f12#2','twin','twin','new',1,'2ca9347e095df739adf9dfe200b7f88e8f6bf212b7541af6cb487da40f786f12',24,20,'','','[]',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2026-11-26T10:58:31.609865+00:00',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'ba7579f10a5a64b5',2,'[]','25baf323da2d5923ecd33e5c9c36f06e688c36aea46a774e6b33cacd6d98e166','aec8c9025ce6da5b3e317d7c2b9be5c743f6d48c32ad001cff67dbbfc9b70e38','[]','{}');
INSERT INTO "sample" VALUES('d4140bb88e60a0a7',23,'cat','broken:/photos/bad.png','bad','bad','broken',1,NULL,NULL,NULL,'/photos/bad.png','','[]','bad.png cannot be read',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'2026-11-26T10:58:31.597339+00:00',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'[]','50116bd500125f7a75f8bb95951b6ccc708c6306bdbe71b978238077dec88248','aec8c9025ce6da5b3e317d7c2b9be5c743f6d48c32ad001cff67dbbfc9b70e38','[]','{}');
CREATE TABLE session (
	token_sha VARCHAR(64) NOT NULL, 
	person TEXT NOT NULL, 
	until FLOAT NOT NULL, 
	began FLOAT NOT NULL, digest VARCHAR(64), 
	PRIMARY KEY (token_sha)
);
INSERT INTO "session" VALUES('4cbefef38fa4245f7520dcc36d38ff0576e46a85e335cccf884c40bd0411c61b','ann',1.79573391240898799902e+09,1.79569071240898799892e+09,'1d31795cbc7530783c3b6a8df8fd1259f5b53e05ee812acb082054bfcdaf354f');
CREATE TABLE wanted (
	sample_id VARCHAR(16) NOT NULL, 
	at FLOAT NOT NULL, 
	place INTEGER NOT NULL, 
	PRIMARY KEY (sample_id)
);
CREATE INDEX lease_holder ON lease (holder);
CREATE INDEX event_actor ON event (actor, id);
CREATE INDEX event_kind ON event (kind, id);
CREATE INDEX session_person ON session (person);
CREATE INDEX job_outcome_created ON job (outcome, created);
CREATE INDEX job_created ON job (created);
CREATE INDEX wanted_place ON wanted (place);
CREATE INDEX sample_seq ON sample (seq);
CREATE INDEX sample_state_seq ON sample (state, seq);
CREATE INDEX sample_concept_seq ON sample (concept, seq);
CREATE INDEX sample_decided ON sample (decided_by, decided_event);
CREATE INDEX sample_twin ON sample (twin_of, decided_by);
CREATE INDEX sample_queue ON sample (state, concept, seq, id, name_key, updated_at, decided_by, decided_how, decided_event, verdict, low, reviewed, twin_of, clip_score, clip_margin, score_d, score_s, disagreement, novelty);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('event',36);
COMMIT;
